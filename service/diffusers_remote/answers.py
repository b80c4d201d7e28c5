"""Answers as diffusers' client reads them: the bytes of a tensor with its shape and type in headers, or a picture file."""

import json
from typing import Any

from numpy.typing import NDArray

from service.diffusers_remote.rendered import MEDIA_TYPES, ImageFormat
from service.diffusers_remote.tensors import FloatType, tensor_bytes
from service.http.call import Answer
from service.inference.inference import Inference

# The media type that the client sends and asks for.
TENSOR = "tensor/binary"


def tensor_answer(
    numbers: NDArray[Any], dtype: FloatType | None, inference: Inference, headers: dict[str, str] | None = None
) -> Answer:
    """Return a tensor: floats in a type, or bytes as they are if `dtype` is None."""
    body = numbers.tobytes() if dtype is None else tensor_bytes(numbers, dtype)
    own = {"shape": json.dumps(numbers.shape), "dtype": dtype or "uint8", **(headers or {})}
    return Answer(body, TENSOR, _common(inference) | own)


def file_answer(file: bytes, image_format: ImageFormat, inference: Inference) -> Answer:
    """Return a picture file."""
    return Answer(file, MEDIA_TYPES[image_format], _common(inference))


def _common(inference: Inference) -> dict[str, str]:
    headers = {"x-model": inference.model.label, "server-timing": inference.timings.header, "vary": "accept"}
    if inference.warnings.found:
        headers["x-warnings"] = str(len(inference.warnings.found))
    return headers
