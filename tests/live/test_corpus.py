"""Valid, odd and broken picture files: what Pillow itself decodes is encoded, anything else is refused with its reason.

A small corpus is made here. A large one is given by hand: `python -m pytest -m soak tests/live --corpus DIRECTORY`, any
directory of picture files, such as the tests of a picture library.
"""

import io
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from .pictures import picture_bytes
from .server import Server

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "I;16B")
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "PNG": [{}, {"optimize": True}, {"compress_level": 0}, {"dpi": (72, 72)}],
    "JPEG": [{}, {"progressive": True}, {"quality": 5, "subsampling": 2}],
    "WEBP": [{}, {"lossless": True}],
    "GIF": [{}, {"interlace": False}, {"transparency": 0}],
    "BMP": [{}],
    "TIFF": [{"compression": None}, *({"compression": f"tiff_{kind}"} for kind in ("lzw", "adobe_deflate", "jpeg", "ccitt"))],
}
CORRUPTIONS = 4  # of each file
MIB = 1 << 20

Verdict = Literal["picture", "too large", "no picture"]


@pytest.fixture(autouse=True)
def _no_bound_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service has its own."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)


def verdict(data: bytes, max_pixels: int) -> Verdict:
    """Return what Pillow says about a file, with only the six formats that the service reads."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                return "too large"
            image.load()
    except Exception:  # a decoder raises anything
        return "no picture"
    return "picture"


def fault(answer: httpx.Response, expected: Verdict, rows: int) -> str:
    """Return what is wrong with an answer, or an empty string."""
    if answer.status_code >= 500:
        return f"{answer.status_code}: {answer.text}"
    if (answer.status_code == 200) != (expected == "picture") or (answer.status_code == 413) != (expected == "too large"):
        return f"{expected}, but {answer.status_code}: {answer.text[:200]}"
    if answer.status_code == 200:
        numbers = np.array([answer.json()["mu"], answer.json()["sigma"]])
        return "" if numbers.shape[:2] == (2, rows) and np.isfinite(numbers).all() else f"numbers: {answer.text[:200]}"
    typed = answer.headers["content-type"] == "application/problem+json"
    return "" if typed and len(answer.json()["detail"]) > 10 else f"no reason: {answer.text[:200]}"


class Sender:
    """Posts files to both models, as a body and in a form, and gathers what is wrong."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._max_pixels: int = client.get("/info").json()["limits"]["max_pixels"]
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []

    def send(self, name: str, data: bytes) -> None:
        expected = verdict(data, self._max_pixels)
        bodies: dict[str, dict[str, Any]] = {
            "mnist": {"content": data, "headers": {"content-type": "application/octet-stream"}},
            "tiny-rgb": {"files": {"image": (name, data, "image/png")}},
        }
        for model, body in bodies.items():
            answer = self._client.post("/encode", params={"model": model}, **body)
            self.statuses[answer.status_code] += 1
            wrong = fault(answer, expected, 1)
            if wrong:
                self.faults.append(f"{name} to {model}: {wrong}")


def source(mode: str) -> Image.Image:
    """A small picture of that mode: a gradient of colours under a gradient of alpha."""
    y, x = np.mgrid[0:20, 0:23]
    colours = np.stack([x * 11, y * 12, 255 - x * 11, 40 + y * 10], axis=-1).astype(np.uint8)
    rgba = Image.fromarray(colours)
    if mode in ("I", "F", "I;16", "I;16B"):
        return Image.fromarray((x * y * 130).astype(np.int32)).convert(mode)
    if mode == "PA":
        return rgba.convert("LA").convert("PA")
    if mode == "RGBa":
        return rgba.convert("RGBA").convert(mode)
    if mode == "LAB":
        return Image.merge("LAB", rgba.split()[:3])
    return rgba if mode == "RGBA" else rgba.convert("RGB").convert(mode)


def generated() -> Iterator[tuple[str, bytes]]:
    """(name, file): every mode in every format that Pillow writes it in, with orientations, profiles and animations."""
    for kind in FORMATS:
        for mode in MODES:
            for number, options in enumerate(OPTIONS[kind]):
                try:
                    data = picture_bytes(source(mode), kind, **options)
                except Exception:  # this format has no such mode
                    continue
                yield f"{mode}.{number}.{kind.lower()}", data
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Maker", 0x011A: (72, 1), 0x8769: {0x9003: "2020:01:01 00:00:00"}})
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        yield f"turned.{kind.lower()}", picture_bytes(source("RGB"), kind, exif=exif.tobytes())
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        others = [source(mode).convert("RGB").rotate(90) for mode in ("L", "RGB")]
        yield f"animated.{kind.lower()}", picture_bytes(source("RGB"), kind, save_all=True, append_images=others)


def corrupted(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """The same file cut short, and with bits flipped and bytes replaced, mostly in its header; the same ones every time."""
    chance = random.Random(name)
    for number in range(CORRUPTIONS):
        if number % 3 == 0:
            yield f"{name} cut {number}", data[: chance.randrange(1, len(data))]
            continue
        spoiled, reach = bytearray(data), len(data) if number % 3 == 1 else min(len(data), 200)
        for _ in range(chance.choice((1, 1, 3))):
            at = chance.randrange(reach)
            flipped = spoiled[at] ^ 1 << chance.randrange(8)
            spoiled[at] = chance.choice((flipped, flipped, 0, 255))
        yield f"{name} spoiled {number}", bytes(spoiled)


def test_every_mode_in_every_format(client: httpx.Client) -> None:
    files = list(generated())
    assert len(files) > 80
    assert {name.rpartition(".")[2] for name, _ in files} == {kind.lower() for kind in FORMATS}
    sender = Sender(client)
    for name, data in files:
        sender.send(name, data)
    assert sender.faults == []
    assert sender.statuses == {200: 2 * len(files)}


def test_corrupted_files(client: httpx.Client, server: Server) -> None:
    sender = Sender(client)
    for name, data in generated():
        for spoiled_name, spoiled in corrupted(name, data):
            sender.send(spoiled_name, spoiled)
    assert sender.faults == []
    assert min(sender.statuses[200], sender.statuses[400]) > 150
    assert client.get("/health/ready").status_code == 200


@pytest.mark.soak
def test_a_corpus_of_picture_files(request: pytest.FixtureRequest, client: httpx.Client, server: Server) -> None:
    """Three passes over `--corpus`, every file as it is and the small ones corrupted too; memory stays flat."""
    directory: Path | None = request.config.getoption("corpus", None)
    if directory is None:
        pytest.skip("no directory of picture files: give one with --corpus DIRECTORY")
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    assert paths, f"{directory} holds no files"
    process, resident = psutil.Process(server.process.pid), []
    for _ in range(3):
        sender = Sender(client)
        for path in paths:
            name, data = str(path.relative_to(directory)), path.read_bytes()
            sender.send(name, data)
            if 0 < len(data) < 100_000:
                for spoiled_name, spoiled in corrupted(name, data):
                    sender.send(spoiled_name, spoiled)
        resident.append(process.memory_info().rss)
        assert sender.faults == [], sender.statuses
    assert resident[2] - resident[0] < 32 * MIB, resident
    assert client.get("/health/ready").status_code == 200
