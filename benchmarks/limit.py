"""The upper limit of one CPU thread without HTTP: the same requests are read, computed and answered in one loop.

`python -m benchmarks.limit` prints JSON: pictures per second for each kind of traffic. The model gets full batches; reading
and writing use orjson, Pillow and numpy directly. Of the service it uses only the export of models.
"""

import argparse
import binascii
import io
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import models
from benchmarks.load import Request
from benchmarks.workload import BOUNDARY, LATENT_DIM, MODEL, ROOT, Traffic, npy, png, traffic
from models.mosaic import tile
from models.train.flag_types import positive
from service.engine.programs.onnx_program import start_sessions

WEIGHTS = ROOT / "models" / "weights" / MODEL
BATCH = 64
PART_HEADER = re.compile(rb"\r\n\r\n")

Floats = NDArray[np.float32]
Rows = NDArray[Any]


class Engine(Protocol):
    """Computes batches."""

    def encode(self, pixels: Rows) -> Floats:
        """Return the posteriors, uint8 (B, C, H, W) -> (2, B, D): mu, then sigma."""
        ...

    def decode(self, z: Floats) -> Floats:
        """Return the decoded pictures, (B, D) -> (B, H, W, C) in [0, 1]."""
        ...


class TorchEngine:
    """The model from `models.load`, on one thread of the CPU."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._vae = models.load(WEIGHTS)

    def encode(self, pixels: Rows) -> Floats:
        """See Engine."""
        with torch.inference_mode():
            return _posterior(self._vae, torch.from_numpy(pixels)).numpy()

    def decode(self, z: Floats) -> Floats:
        """See Engine."""
        with torch.inference_mode():
            return _pictures(self._vae, torch.from_numpy(z)).numpy()


class OnnxEngine:
    """A model as the service exports it for ONNX Runtime, on one thread of the CPU."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        torch.set_num_threads(1)
        vae = models.load(weights)
        channels, height, width = vae.config.shape
        pixels = np.zeros((BATCH, channels, height, width), np.float32)
        self._encode = start_sessions(lambda x: _posterior(vae, x), pixels, 1).large
        self._decode = start_sessions(
            lambda z: _pictures(vae, z), np.zeros((BATCH, vae.config.latent_dim), np.float32), 1
        ).large

    def encode(self, pixels: Rows) -> Floats:
        """See Engine."""
        answers: Floats = self._encode.run(None, {"rows": pixels.astype(np.float32) / np.float32(255)})[0]
        return answers

    def decode(self, z: Floats) -> Floats:
        """See Engine."""
        answers: Floats = self._decode.run(None, {"rows": z})[0]
        return answers


def _posterior(vae: models.VAE, x: Tensor) -> Tensor:
    posterior = vae.encode(x)
    return torch.stack([posterior.mu, posterior.sigma])  # (2, B, D)


def _pictures(vae: models.VAE, z: Tensor) -> Tensor:
    return vae.decode(z).mean.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)


ENGINES: dict[str, Callable[[], Engine]] = {"torch": TorchEngine, "onnx": OnnxEngine}


def limits(engine: str, seconds: float, kinds: Sequence[Traffic]) -> dict[str, float]:
    """Return pictures per second for each kind of traffic, measured for so many seconds each."""
    computing = ENGINES[engine]()
    return {kind.name: _pictures_per_second(computing, kind, seconds) for kind in kinds}


def _pictures_per_second(engine: Engine, kind: Traffic, seconds: float) -> float:
    size = BATCH // kind.images
    batches = [kind.requests[start : start + size] for start in range(0, len(kind.requests), size)]
    _answer(engine, batches[0])
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        _answer(engine, batches[done % len(batches)])
        done += 1
    return done * BATCH / (time.perf_counter() - started)


def _answer(engine: Engine, requests: Sequence[Request]) -> list[bytes]:
    """Return the response bodies for requests of one kind that fill one batch."""
    blocks = [_read(request) for request in requests]
    rows = np.concatenate(blocks)
    ends = np.cumsum([len(block) for block in blocks])[:-1]
    query = parse_qs(urlsplit(requests[0].path).query)
    form = query.get("format", ["json"])[0]
    if requests[0].path.startswith("/encode"):
        return [_posterior_bytes(part, form) for part in np.split(engine.encode(rows), ends, axis=1)]
    pictures = np.rint(engine.decode(rows) * np.float32(255)).astype(np.uint8)
    strip = "layout" in query
    return [_picture_bytes(part, form, strip) for part in np.split(pictures, ends)]


# --- in


def _read(request: Request) -> Rows:
    """Return the pictures, uint8 (n, C, H, W), or latents, float32 (n, D), of one request."""
    kind = request.headers["Content-Type"].split(";")[0]
    if kind == "application/x-npy":
        array: Rows = np.load(io.BytesIO(request.body), allow_pickle=False)
        return array.transpose(0, 3, 1, 2)
    if kind == "image/png":
        return _pixels(request.body)[None]
    if kind == "multipart/form-data":
        parts = request.body.split(b"--" + BOUNDARY.encode())[1:-1]
        return np.stack([_pixels(PART_HEADER.split(part, 1)[1][:-2]) for part in parts])
    body = orjson.loads(request.body)
    if "images" in body:
        return np.stack([_pixels(binascii.a2b_base64(text)) for text in body["images"]])
    if "z" in body:
        return np.array(body["z"], np.float32)
    if "steps" in body:
        start, end = (np.array(body[name]["z"], np.float32) for name in ("start", "end"))
        return start + np.linspace(0, 1, body["steps"], dtype=np.float32)[:, None] * (end - start)
    return np.random.default_rng(body["seed"]).standard_normal((body["n"], LATENT_DIM), np.float32)


def _pixels(data: bytes) -> Rows:
    return np.asarray(Image.open(io.BytesIO(data), formats=("PNG",)).convert("L"))[None]  # (1, H, W)


# --- out


def _posterior_bytes(rows: Floats, form: str) -> bytes:
    """Convert (2, n, D) to JSON or npy."""
    if form == "npy":
        return npy(rows)
    mu, sigma = np.ascontiguousarray(rows)
    return orjson.dumps({"model": MODEL, "mu": mu, "sigma": sigma}, option=orjson.OPT_SERIALIZE_NUMPY)


def _picture_bytes(pictures: NDArray[np.uint8], form: str, strip: bool) -> bytes:
    """Convert (n, H, W, C) to JSON with one PNG per picture, to npy, or to one PNG of all."""
    if form == "npy":
        return npy(pictures)
    if form == "png":
        columns = len(pictures) if strip else round(len(pictures) ** 0.5)
        return png(tile(pictures, columns) if len(pictures) > 1 else pictures[0])
    images = [binascii.b2a_base64(png(picture), newline=False).decode("ascii") for picture in pictures]
    return orjson.dumps({"model": MODEL, "images": images, "shape": pictures.shape[1:]})


def main() -> int:
    """Measure and print the limits."""
    kinds = traffic()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limit", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--engine", choices=sorted(ENGINES), default="torch", help="what computes the batches (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=positive(), default=1.0, help="length of the measurement of each kind (default: %(default)s)"
    )
    parser.add_argument(
        "--traffic",
        nargs="+",
        choices=list(kinds),
        default=list(kinds),
        metavar="NAME",
        help="kinds of traffic (default: all)",
    )
    arguments = parser.parse_args()
    chosen = [kinds[name] for name in arguments.traffic]
    print(json.dumps(limits(arguments.engine, arguments.seconds, chosen)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
