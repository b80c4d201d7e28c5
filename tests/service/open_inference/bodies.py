"""Requests of the protocol as a client writes them, and answers as it reads them, made by hand from the specification."""

import json
import struct
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

HEADER = "Inference-Header-Content-Length"
NAMES = {"uint8": "UINT8", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64"}
TYPES = {"UINT8": np.uint8, "FP32": np.float32}


def packed(elements: list[bytes]) -> bytes:
    """Return the binary data of BYTES."""
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


def body(inputs: dict[str, Any], binary: bool = True, **fields: Any) -> tuple[bytes, dict[str, str]]:
    """Return a body and its headers. `inputs`: arrays, or lists of BYTES."""
    described, data = [], b""
    for name, value in inputs.items():
        texts = isinstance(value, list)
        one: dict[str, Any] = {"name": name, "datatype": "BYTES" if texts else NAMES[str(value.dtype)]}
        one["shape"] = [len(value)] if texts else list(value.shape)
        if binary:
            own = packed(value) if texts else value.tobytes()
            one["parameters"] = {"binary_data_size": len(own)}
            data += own
        else:
            one["data"] = [text.decode() for text in value] if texts else value.ravel().tolist()
        described.append(one)
    text = json.dumps({"inputs": described, **fields}).encode()
    return text + data, {HEADER: str(len(text))} if binary else {}


def outputs(answer: httpx.Response) -> dict[str, NDArray[Any]]:
    """Return the outputs of an answer in their order."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get(HEADER, len(answer.content)))
    data, found = answer.content[length:], {}
    for one in json.loads(answer.content[:length])["outputs"]:
        if "parameters" in one:
            own, data = data[: one["parameters"]["binary_data_size"]], data[one["parameters"]["binary_data_size"] :]
            if one["datatype"] == "BYTES":
                array = np.array(unpacked(own), object)
            else:
                array = np.frombuffer(own, TYPES[one["datatype"]])
        else:
            array = np.array(one["data"], TYPES.get(one["datatype"], object))
        found[one["name"]] = array.reshape(one["shape"])
    assert data == b""
    return found


def unpacked(data: bytes) -> list[bytes]:
    """Return the elements of binary BYTES."""
    found, place = [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<I", data, place)
        found.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    return found


async def ask(
    client: httpx.AsyncClient, model: str, inputs: dict[str, Any], binary: bool = True, **fields: Any
) -> httpx.Response:
    """Send an inference request."""
    content, headers = body(inputs, binary, **fields)
    return await client.post(f"/v2/models/{model}/infer", content=content, headers=headers)


async def infer(
    client: httpx.AsyncClient, model: str, inputs: dict[str, Any], binary: bool = True, **fields: Any
) -> dict[str, NDArray[Any]]:
    """Send an inference request and return its outputs."""
    return outputs(await ask(client, model, inputs, binary, **fields))
