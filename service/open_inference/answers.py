"""Outputs -> the body of an answer: JSON, and after it the binary data; compressed if the caller asks for that.

Knows nothing of what the outputs mean.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from isal import igzip, isal_zlib

from service.http.call import Answer
from service.http.header_values import best_coding
from service.open_inference.classification import largest
from service.open_inference.request import OutputForm
from service.open_inference.tensors import Tensor, to_binary, to_json

VERSION = "1"
JSON, BINARY = "application/json", "application/octet-stream"
# ISA-L's levels are 0 to 3; all are fast.
LEVEL = 1
# Callers who take both get gzip.
CODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": partial(igzip.compress, compresslevel=LEVEL, mtime=0),
    "deflate": partial(isal_zlib.compress, level=LEVEL),
}


def json_answer(value: Any, headers: dict[str, str] | None = None) -> Answer:
    """Return an answer of JSON, which is never compressed."""
    return Answer(orjson.dumps(value), JSON, headers or {"cache-control": "no-store"})


def infer_answer(
    model: str,
    id: str | None,
    outputs: Sequence[tuple[Tensor, OutputForm]],
    parameters: Mapping[str, str | int | float | bool],
    accept_encoding: str,
    headers: dict[str, str],
) -> Answer:
    """Return the answer to an inference request. Raises BadRequest for an output that has no such form."""
    described, binary = [], list[bytes]()
    for output, form in outputs:
        tensor = largest(output, form.classes) if form.classes else output
        one: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if form.binary:
            binary.append(to_binary(tensor))
            one["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            one["data"] = to_json(tensor)
        described.append(one)
    fields: dict[str, Any] = {"model_name": model, "model_version": VERSION}
    if id is not None:
        fields["id"] = id
    if parameters:
        fields["parameters"] = parameters
    text = orjson.dumps(fields | {"outputs": described}, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = headers | {"vary": "accept-encoding"}
    if binary:
        headers["inference-header-content-length"] = str(len(text))
    body = b"".join((text, *binary)) if binary else text
    coding = best_coding(accept_encoding, tuple(CODINGS)) if accept_encoding else None
    if coding is not None:
        body = CODINGS[coding](body)
        headers["content-encoding"] = coding
    return Answer(body, BINARY if binary else JSON, headers)
