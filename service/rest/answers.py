"""Arrays -> answers: headers that every operation sends, posteriors and pictures in the format that was asked for."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from service.formats import pictures as codecs
from service.formats import png
from service.formats.json_values import json_bytes
from service.formats.npy import npy
from service.http.call import Answer
from service.inference.inference import Inference
from service.latents.plane import Plane
from service.observe.printable import header_value
from service.rest.arrangement import arrange, enlarge
from service.rest.complete_schemas import CompleteParameters
from service.rest.kinds import as_viewed, wire_of
from service.rest.model_schemas import ExampleParameters
from service.rest.negotiation import MEDIA_TYPES, Format
from service.rest.schemas import DecodeParameters, InterpolateParameters
from service.store.filters import Unknown
from service.store.interface import Collection
from service.timings import SERVER_TIMING

# So many numbers are written as JSON before other requests get a turn; this takes a third of a millisecond.
NUMBERS_A_TURN = 10_000


def timing_of(inference: Inference) -> str:
    """Return the header Server-Timing: how long the rows of a request waited, and how long they took."""
    return inference.timings.header


@lru_cache(maxsize=1000)
def lines_of(label: str, form: Format) -> bytes:
    """Return the header lines of an answer without warnings, as `Direct.lines` wants them. `label`: that of the model."""
    own = {"x-model": label, "server-timing": "", "vary": "accept", "content-type": MEDIA_TYPES[form]}
    lines = "".join([f"{name}: {value.replace('%', '%%') or SERVER_TIMING}\r\n" for name, value in own.items()])
    return f"{lines}x-request-id: %s\r\ncontent-length: %d\r\n".encode("latin-1")


def answer(body: bytes, form: Format, inference: Inference, headers: dict[str, str] | None = None) -> Answer:
    """Return an answer with the headers of the model and the timings."""
    own = {"x-model": inference.model.label, "server-timing": timing_of(inference), "vary": "accept", **(headers or {})}
    if inference.warnings.found and form != "json":  # JSON has the warnings themselves.
        own["x-warnings"] = str(len(inference.warnings.found))
    return Answer(body, MEDIA_TYPES[form], own)


def warnings_of(inference: Inference) -> dict[str, Any]:
    """Return the field of JSON answers with the warnings about the pictures of a request; none if there is no warning."""
    return {"warnings": inference.warnings.json()} if inference.warnings.found else {}


def json_answer(fields: dict[str, Any], collection: Collection | None = None, inference: Inference | None = None) -> Answer:
    """Return a JSON answer; headers name the collection's model, and the time that encoding and decoding took."""
    headers = {} if collection is None else {"x-model": header_value(collection.label)}
    if inference is not None:
        headers["server-timing"] = timing_of(inference)
        fields = {**fields, **warnings_of(inference)}
    return Answer(json_bytes(fields), "application/json", headers)


def unknown_keys(unknown: Sequence[Unknown]) -> dict[str, Any]:
    """Return the fields of a JSON answer that name the keys of a filter that no item has; no fields if there are none."""
    fields: dict[str, Any] = {}
    if unknown:
        fields["unknown_keys"] = [one.key for one in unknown]
    if similar := {one.key: one.similar for one in unknown if one.similar is not None}:
        fields["did_you_mean"] = similar
    return fields


def described_distance(metric: str, sigma_weight: float) -> dict[str, Any]:
    """Return the fields of a JSON answer that name the metric of a search, and its weight of sigma if it has one."""
    return {"metric": metric, **({"sigma_weight": sigma_weight} if metric == "w2" else {})}


def plane_json(plane: Plane, dims: tuple[int, int] | None) -> dict[str, Any]:
    """Return the JSON object of a plane of two dimensions, or of the principal components for None."""
    fields: dict[str, Any] = {"kind": "pca" if dims is None else "dims", "origin": plane.origin, "axes": plane.axes}
    return fields | ({"explained": plane.explained} if dims is None else {"dims": dims})


async def posteriors_json(fields: dict[str, Any]) -> bytes:
    """Write fields, among them arrays (N, ...), as JSON. Between parts of long arrays other requests get a turn."""
    written: dict[str, Any] = {}
    for name, field in fields.items():
        if isinstance(field, np.ndarray) and field.size > NUMBERS_A_TURN:
            rows = max(1, NUMBERS_A_TURN * len(field) // field.size)
            slices = []
            for first in range(0, len(field), rows):
                slices.append(json_bytes(field[first : first + rows])[1:-1])
                await asyncio.sleep(0)
            field = orjson.Fragment(b"[" + b",".join(slices) + b"]")
        written[name] = field
    return json_bytes(written)


def items_answer(
    data: NDArray[Any],
    form: Format,
    inference: Inference,
    parameters: CompleteParameters | DecodeParameters | InterpolateParameters | ExampleParameters,
    fields: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    scale: int = 1,
) -> Answer:
    """Return data (N, ...) in any format: pictures are float32 in [0, 1] or uint8, (N, H, W, C).

    JSON also gets `fields`; `scale` enlarges pictures.
    """
    if form == "png":
        pixels = wire_of(inference.model).pictures(inference, data)
        body = png.write(enlarge(arrange(pixels, parameters.layout), scale))
    elif form in ("webp", "gif"):
        pixels = wire_of(inference.model).pictures(inference, data)
        body = codecs.animation(list(enlarge(pixels, scale)), form)
    else:
        return data_answer(data, form, inference, parameters.dtype, fields, headers, parameters.view)
    return answer(body, form, inference, headers)


def data_answer(
    data: NDArray[Any],
    form: Format,
    inference: Inference,
    dtype: Literal["uint8", "float32"],
    fields: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    view: Literal["picture"] | None = None,
) -> Answer:
    """Return data (N, ...) as JSON, which also gets `fields`, as npy if they are pictures, or as a file of their kind."""
    model = inference.model
    wire, data = as_viewed(inference, data, view)
    if form == "npy":
        if dtype == "uint8":
            data = codecs.to_uint8(data)
        elif data.dtype == np.uint8:
            data = np.divide(data, 255, dtype=np.float32)
        return answer(npy(data), form, inference, headers)
    if form != "json":
        return answer(wire.file(model, data, form), form, inference, headers)
    made = {"model": model.name, **wire.fields(model, data), **(fields or {}), **warnings_of(inference)}
    return answer(json_bytes(made), form, inference, headers)
