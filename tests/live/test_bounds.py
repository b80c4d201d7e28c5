"""Requests larger than allowed: 413 before they cost anything. A service with small bounds."""

import json
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from .pictures import encoded, npy, picture_bytes, text
from .problems import problem
from .server import Server, serving

MAX_BYTES, MAX_PIXELS, MAX_ROWS = 20_000, 10_000, 10


@pytest.fixture(scope="module")
def server(models_dir: Path) -> Iterator[Server]:
    bounds = {"max-body-bytes": MAX_BYTES, "max-pixels": MAX_PIXELS, "max-rows": MAX_ROWS, "max-queue-rows": 64}
    flags = [word for name, value in bounds.items() for word in (f"--{name}", str(value))]
    with serving("--models-dir", str(models_dir), "--models", "mnist", *flags) as running:
        yield running


@pytest.fixture
def small(pngs: list[bytes]) -> bytes:
    """A picture of which many fit into a body."""
    return min(pngs, key=len)


def test_bounds_are_told(client: httpx.Client) -> None:
    limits = client.get("/info").json()["limits"]
    assert limits["max_body_bytes"] == MAX_BYTES
    assert limits["max_pixels"] == MAX_PIXELS
    assert limits["max_rows"] == MAX_ROWS


@pytest.mark.parametrize("path", ["/encode", "/decode", "/sample", "/interpolate", "/reconstruct"])
def test_bodies_of_too_many_bytes(client: httpx.Client, path: str, pngs: list[bytes]) -> None:
    for body in (bytes(MAX_BYTES + 1), pngs[0] + bytes(MAX_BYTES), b"[" * 1_000_000):
        problem(client.post(path, content=body), 413, "body_too_large", str(MAX_BYTES))
        # without a length: known only when it has come
        problem(client.post(path, content=iter([body[:5000], body[5000:]])), 413, "body_too_large", str(MAX_BYTES))


def test_a_body_of_just_as_many_bytes(client: httpx.Client, pngs: list[bytes]) -> None:
    whole = pngs[0] + bytes(MAX_BYTES - len(pngs[0]))
    expected = client.post("/encode", content=pngs[0]).raise_for_status().content
    assert client.post("/encode", content=whole).content == expected
    assert client.post("/encode", content=iter([whole[:7], b"", whole[7:]])).content == expected


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def test_a_body_without_end_is_answered_while_it_comes(server: Server) -> None:
    with connect(server) as caller:
        caller.sendall(b"POST /encode HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(MAX_BYTES // 1000 + 1):
            caller.sendall(b"3e8\r\n" + bytes(1000) + b"\r\n")
        assert caller.recv(1000).startswith(b"HTTP/1.1 413 ")  # no last chunk was ever sent


def test_a_stated_length_is_enough(server: Server) -> None:
    with connect(server) as caller:
        caller.sendall(b"POST /encode HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999999\r\n\r\n")
        assert caller.recv(1000).startswith(b"HTTP/1.1 413 ")  # nor was it asked to go on


def giants() -> dict[str, bytes]:
    """Headers of 30 000 x 30 000 pixels with next to nothing behind them."""
    side = 30_000
    ihdr = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", ihdr), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    )
    tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, 100)]
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
    tiff += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)
    gif = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    gif += b"\x2c" + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02L\x01\0;"
    bmp = b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    jpeg = bytearray(picture_bytes(Image.new("L", (8, 8)), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    webp = bytearray(picture_bytes(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    bits = webp.index(b"VP8L") + 9
    webp[bits : bits + 4] = struct.pack("<I", (16383) | (16383 << 14))
    return {"PNG": png, "TIFF": tiff + bytes(100), "GIF": gif, "BMP": bmp, "JPEG": bytes(jpeg), "WEBP": bytes(webp)}


@pytest.mark.parametrize(("kind", "data"), giants().items())
def test_giants_are_known_by_their_headers(client: httpx.Client, small: bytes, kind: str, data: bytes) -> None:
    side = 16384 if kind == "WEBP" else 30_000
    problem(client.post("/encode", content=data), 413, "too_many_pixels", f"{side} x {side}", str(MAX_PIXELS))
    body = problem(client.post("/reconstruct", files=[("image", ("x", one)) for one in (small, data)]), 413, "too_many_pixels")
    assert body["item"] == 1
    ends = {"start": {"image": text(small)}, "end": {"image": text(data)}}
    problem(client.post("/interpolate", json=ends), 413, "too_many_pixels")


def test_pictures_of_just_as_many_pixels(client: httpx.Client) -> None:
    client.post("/encode", content=encoded(np.zeros((100, 100), np.uint8))).raise_for_status()
    problem(client.post("/encode", content=encoded(np.zeros((100, 101), np.uint8))), 413, "too_many_pixels", "101 x 100")
    client.post("/encode", content=encoded(np.zeros((1, MAX_PIXELS), np.uint8))).raise_for_status()


def test_items_are_counted_before_they_are_decoded(client: httpx.Client, small: bytes) -> None:
    rubbish, n = b"no picture", MAX_ROWS + 1
    ends = {"start": {"z": [0.0] * 20}, "end": {"z": [1.0] * 20}}
    too_many: list[tuple[str, dict[str, Any]]] = [
        *(
            (path, body)
            for path in ("/encode", "/reconstruct")
            for body in (
                {"files": [("image", ("x", small))] * n},
                {"files": [("image", ("x", rubbish))] * n},
                {"files": [("image", ("x", rubbish))] * 100},
                {"json": {"images": [text(small)] * n}},
                {"json": {"images": ["?"] * n}},
                {"content": npy(np.zeros((n, 28, 28), np.uint8))},
            )
        ),
        ("/decode", {"json": {"z": [[0.0] * 20] * n}}),
        ("/decode", {"json": {"z": [["?"]] * n}}),
        ("/decode", {"content": npy(np.zeros((n, 20)))}),
        (f"/sample?n={n}", {}),
        ("/sample?n=9007199254740993", {}),
        ("/interpolate", {"json": {**ends, "steps": n}}),
    ]
    for path, body in too_many:
        parts = len(body.get("files", ()))  # a form may have a few fields beside its pictures
        status = 422 if path.startswith(("/sample", "/interpolate")) else 413  # asked for, or sent
        problem(client.post(path, **body), status, "too_many_items", "parts" if parts > 50 else str(MAX_ROWS))


def test_just_as_many_items(client: httpx.Client, small: bytes) -> None:
    files = [("image", ("x", small))] * MAX_ROWS
    assert len(client.post("/encode", files=files).raise_for_status().json()["mu"]) == MAX_ROWS
    assert len(client.get(f"/sample?n={MAX_ROWS}").raise_for_status().json()["images"]) == MAX_ROWS
    with_fields = client.post("/encode", files=files, data={"include": "kl", "model": "mnist", "format": "json"})
    assert len(with_fields.raise_for_status().json()["kl"]) == MAX_ROWS


def test_the_connection_lives_on(server: Server, small: bytes) -> None:
    """A refused body is read to its end or the connection closed: what follows it is never taken for a part of it."""
    with httpx.Client(base_url=server.url) as client:
        expected = client.post("/encode", content=small).content
        for body in (bytes(MAX_BYTES + 1), bytes(3_000_000), json.dumps({"z": [[0.0] * 20] * 11}).encode()):
            assert client.post("/encode", content=body).status_code in (413, 422)
            assert client.post("/encode", content=small).content == expected
