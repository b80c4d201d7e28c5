"""The requests for the benchmarks: kinds of traffic, and scenarios made of them.

They use real digits and latents of the prior, different ones in each request. Knows nothing of how requests are sent.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from benchmarks.load import Request

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "tests" / "data" / "digits.npz"
MODEL = "mnist"
LATENT_DIM = 20
DIFFERENT_REQUESTS = 64
SAMPLES, STEPS = 16, 8
TENSORS, TENSOR_ITEMS = "encode 64, binary tensor", 64

JSON = {"Content-Type": "application/json"}
NPY = {"Content-Type": "application/x-npy"}
BOUNDARY = "boundary-of-the-benchmark"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Traffic:
    """Requests of one kind; `images` is the number of pictures that go in or out per request."""

    name: str
    images: int
    requests: tuple[Request, ...]


@dataclass(frozen=True)
class Scenario:
    """Traffic of one kind, or of several in turn, over so many connections."""

    traffic: tuple[Traffic, ...]
    connections: int

    @property
    def name(self) -> str:
        """The name in the table."""
        return self.traffic[0].name if len(self.traffic) == 1 else "mixed"

    @property
    def key(self) -> tuple[str, int]:
        """A unique key."""
        return self.name, self.connections

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests of all kinds in turn."""
        return tuple(request for turn in zip(*(kind.requests for kind in self.traffic), strict=True) for request in turn)

    @property
    def images(self) -> float:
        """The mean number of pictures per request."""
        return sum(kind.images for kind in self.traffic) / len(self.traffic)

    def limit(self, limits: Mapping[str, float]) -> float:
        """Return the limit in pictures per second, from those of the kinds of traffic: their times add up."""
        return sum(kind.images for kind in self.traffic) / sum(kind.images / limits[kind.name] for kind in self.traffic)


def traffic() -> dict[str, Traffic]:
    """Return all kinds of traffic by name."""
    with np.load(DIGITS) as archive:
        digits: Pixels = archive["images"][..., None]  # (256, H, W, 1)
    latents = np.random.default_rng(0).standard_normal((2 * DIFFERENT_REQUESTS, LATENT_DIM)).round(4)
    pngs = [png(digit) for digit in digits]

    def encode(number: int, bodies: Callable[[Sequence[int]], Request]) -> tuple[Request, ...]:
        """Return requests that each start at a different picture."""
        step = len(digits) // DIFFERENT_REQUESTS
        return tuple(bodies([(i * step + k) % len(digits) for k in range(number)]) for i in range(DIFFERENT_REQUESTS))

    def as_json(which: Sequence[int]) -> Request:
        return encode_request([pngs[i] for i in which])

    def as_picture(which: Sequence[int]) -> Request:
        return Request("POST", "/encode", {"Content-Type": "image/png"}, pngs[which[0]])

    def as_form(which: Sequence[int]) -> Request:
        return form_request([pngs[i] for i in which])

    def as_npy(which: Sequence[int]) -> Request:
        return Request("POST", "/encode?format=npy", NPY, npy(digits[list(which)]))

    def decode(answer: str) -> tuple[Request, ...]:
        return tuple(decode_request(z.tolist(), answer) for z in latents[:DIFFERENT_REQUESTS])

    def sample(query: str) -> tuple[Request, ...]:
        return tuple(sample_request(seed, query) for seed in range(DIFFERENT_REQUESTS))

    ends = latents.reshape(DIFFERENT_REQUESTS, 2, LATENT_DIM).tolist()
    kinds = [
        Traffic("encode 1, JSON", 1, encode(1, as_json)),
        Traffic("encode 1, PNG", 1, encode(1, as_picture)),
        Traffic("encode 1, npy", 1, encode(1, as_npy)),
        Traffic("encode 64, JSON", 64, encode(64, as_json)),
        Traffic("encode 64, form", 64, encode(64, as_form)),
        Traffic("encode 64, npy", 64, encode(64, as_npy)),
        Traffic("decode 1 to PNG", 1, decode("png")),
        Traffic("decode 1 to npy", 1, decode("npy")),
        Traffic("sample 16 to JSON", SAMPLES, sample("")),
        Traffic("sample 16 to PNG", SAMPLES, sample("?format=png")),
        Traffic("sample 16 to npy", SAMPLES, sample("?format=npy")),
        Traffic("interpolate 8 to PNG", STEPS, tuple(interpolate_request(start, end) for start, end in ends)),
    ]
    return {kind.name: kind for kind in kinds}


def tensor_traffic() -> Traffic:
    """Return requests of the Open Inference Protocol: 64 pictures as a binary tensor, and binary answers."""
    with np.load(DIGITS) as archive:
        digits: Pixels = archive["images"][..., None]
    batches = [np.roll(digits, -4 * i, 0)[:TENSOR_ITEMS] for i in range(DIFFERENT_REQUESTS)]
    return Traffic(TENSORS, TENSOR_ITEMS, tuple(map(tensor_request, batches)))


def scenarios() -> list[Scenario]:
    """Return all scenarios of `python -m benchmarks.service`."""
    kinds = traffic()
    plan: list[tuple[tuple[str, ...], tuple[int, ...]]] = [
        (("encode 1, JSON", "encode 1, PNG", "encode 1, npy"), (1, 16, 64, 256)),
        (("encode 64, JSON", "encode 64, form", "encode 64, npy"), (4, 16)),
        (("decode 1 to PNG", "decode 1 to npy"), (16,)),
        (("sample 16 to JSON", "sample 16 to PNG", "sample 16 to npy", "interpolate 8 to PNG"), (16,)),
    ]
    found = [Scenario((kinds[name],), connections) for names, counts in plan for name in names for connections in counts]
    mixed = tuple(kind for name, kind in kinds.items() if not name.startswith("encode 64"))
    return [*found, Scenario(mixed, 64)]


# --- requests


def encode_request(pngs: Sequence[bytes]) -> Request:
    """Return a request with pictures as base64 in JSON."""
    return _json("/encode", {"images": [base64.b64encode(picture).decode("ascii") for picture in pngs]})


def form_request(pngs: Sequence[bytes]) -> Request:
    """Return a request with pictures as parts of a form."""
    parts = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{i}.png"\r\n'
        f"Content-Type: image/png\r\n\r\n".encode()
        + picture
        + b"\r\n"
        for i, picture in enumerate(pngs)
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return Request("POST", "/encode", headers, parts + f"--{BOUNDARY}--\r\n".encode())


def decode_request(z: Sequence[float], answer: str) -> Request:
    """Return a request that decodes one latent."""
    return _json(f"/decode?format={answer}", {"z": [z]})


def sample_request(seed: int, query: str = "", number: int = SAMPLES) -> Request:
    """Return a request for samples of the prior."""
    return _json(f"/sample{query}", {"n": number, "seed": seed})


def interpolate_request(start: Sequence[float], end: Sequence[float]) -> Request:
    """Return a request for a path between two latents, as one strip of pictures."""
    body = {"start": {"z": start}, "end": {"z": end}, "steps": STEPS}
    return _json("/interpolate?format=png&layout=row", body)


def tensor_request(pixels: Pixels) -> Request:
    """Return a request of the Open Inference Protocol that encodes pictures, uint8 (N, H, W, C)."""
    described = {
        "name": "image",
        "datatype": "UINT8",
        "shape": pixels.shape,
        "parameters": {"binary_data_size": pixels.nbytes},
    }
    text = orjson.dumps({"inputs": [described], "parameters": {"binary_data_output": True}})
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return Request("POST", "/v2/models/encode/infer", headers, text + pixels.tobytes())


def _json(path: str, body: dict[str, Any]) -> Request:
    return Request("POST", path, JSON, orjson.dumps(body))


# --- bytes


def png(pixels: Pixels) -> bytes:
    """Encode uint8 (H, W, C) as PNG, with the fastest compression."""
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    """Return an array as the bytes of an npy file."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
