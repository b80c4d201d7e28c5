"""Pictures made to hurt: broken metadata, other formats in disguise, headers without end, numbers that are text."""

import io
import json
import select
import socket
import struct
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from .pictures import Pixels, encoded, npy, picture_bytes, text
from .problems import problem
from .server import Server

TURNED = 6  # EXIF orientation: the picture was taken with the camera on its right side


def with_exif(digit: Pixels, kind: str, spoil: Callable[[bytes], bytes] = lambda exif: exif) -> bytes:
    """A picture file whose EXIF block says that it must be turned, after `spoil` has had its way with that block."""
    exif = Image.Exif()
    exif.update({0x0112: TURNED, 0x010F: "Maker", 0x011A: (72, 1), 0x8769: {0x9003: "2020:01:01 00:00:00"}})
    options: dict[str, dict[str, Any]] = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}
    return picture_bytes(Image.fromarray(digit), kind, exif=spoil(exif.tobytes()), **options.get(kind, {}))


def posteriors(client: httpx.Client, *pictures: bytes) -> Any:
    answer = client.post("/encode", files=[("image", ("x", picture)) for picture in pictures])
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["mu"])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "TIFF"])
def test_a_turned_picture_is_turned_back(client: httpx.Client, digits: Pixels, kind: str) -> None:
    lying = np.rot90(digits[0])  # what such a camera stores
    turned, upright, as_stored = posteriors(client, with_exif(lying, kind), encoded(digits[0]), encoded(lying))
    away = np.linalg.norm(as_stored - upright)
    assert away > 0.3
    assert np.linalg.norm(turned - upright) <= (0.2 * away if kind == "JPEG" else 0)


def no_tiff(exif: bytes) -> bytes:
    return exif.replace(b"MM\0*", b"Mm\0*")


def rational_for_a_string(exif: bytes) -> bytes:
    return exif.replace(struct.pack(">HH", 0x010F, 2), struct.pack(">HH", 0x010F, 5))


def string_for_a_rational(exif: bytes) -> bytes:
    return exif.replace(struct.pack(">HH", 0x011A, 5), struct.pack(">HH", 0x011A, 2))


def float_for_a_pointer(exif: bytes) -> bytes:
    return exif.replace(struct.pack(">HH", 0x8769, 4), struct.pack(">HH", 0x8769, 11))


def cut(exif: bytes) -> bytes:
    return exif[:20]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("spoil", [no_tiff, rational_for_a_string, string_for_a_rational, float_for_a_pointer, cut])
def test_broken_metadata_does_not_spoil_a_picture(
    client: httpx.Client, digits: Pixels, kind: str, spoil: Callable[[bytes], bytes]
) -> None:
    """Cameras and editors write them often enough; every viewer shows such a picture."""
    picture = with_exif(digits[0], kind, spoil)
    assert picture != with_exif(digits[0], kind)
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
    assert client.post("/encode", content=picture).status_code == 200


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(client: httpx.Client, digits: Pixels, kind: str) -> None:
    first, *others = [Image.fromarray(digit).convert("RGB") for digit in digits[:3]]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    animated = picture_bytes(first, kind, save_all=True, append_images=others, **lossless)
    with Image.open(io.BytesIO(animated)) as image:
        assert getattr(image, "n_frames", 1) == 3
    np.testing.assert_array_equal(*posteriors(client, animated, encoded(digits[0])))


@pytest.mark.parametrize(
    "kind", ["PPM", "TGA", "PCX", "ICO", "ICNS", "JPEG2000", "AVIF", "EPS", "SGI", "IM", "DDS", "QOI", "PDF", "MSP"]
)
def test_other_formats_stay_closed(client: httpx.Client, digits: Pixels, kind: str) -> None:
    picture = picture_bytes(Image.fromarray(digits[0]).convert("1" if kind == "MSP" else "RGB"), kind)
    for answer in (
        client.post("/encode", content=picture, headers={"content-type": "image/png"}),
        client.post("/encode", files={"image": ("x.png", picture, "image/png")}),
        client.post("/encode", json={"images": ["data:image/png;base64," + text(picture)]}),
    ):
        problem(answer, 415, "unsupported_media_type", "PNG, JPEG, WebP, GIF, BMP, TIFF")


@pytest.mark.parametrize("kind", [b"WAVE", b"AVI ", b"ACON"])
def test_not_all_that_is_riff_is_webp(client: httpx.Client, kind: bytes) -> None:
    sound = b"RIFF" + struct.pack("<I", 36) + kind + b"fmt " + bytes(100)
    problem(client.post("/encode", files={"image": ("x.wav", sound)}), 400, "undecodable", "starts like a picture")


def many_segments(kind: str, size: int = 6_000_000) -> bytes:
    """A valid picture with some million empty segments before its pixels: long to read, and nothing in it."""
    if kind == "PNG":
        plain, empty = picture_bytes(Image.new("L", (28, 28)), "PNG"), b"\0\0\0\0aaAa" + struct.pack(">I", zlib.crc32(b"aaAa"))
        return plain[:33] + empty * (size // len(empty)) + plain[33:]
    if kind == "JPEG":
        plain = picture_bytes(Image.new("L", (28, 28)), "JPEG")
        return plain[:2] + b"\xff\xed\0\x02" * (size // 4) + plain[2:]
    plain = picture_bytes(Image.new("L", (28, 28)), "GIF")
    start = plain.index(b"\x2c\0\0\0\0")
    return plain[:start] + b"\x21\x99\x01x\0" * (size // 5) + plain[start:]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_header_without_end_holds_nobody_up(server: Server, client: httpx.Client, kind: str) -> None:
    """While it is read, others are answered: 700 and more on a machine that does nothing else."""
    body = many_segments(kind)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as caller:
        caller.sendall(b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:-1])
        for _ in range(50):  # each is a turn or more of the event loop, which takes in what has come
            client.get("/health/live").raise_for_status()
        caller.sendall(body[-1:])
        answered = 0
        while not select.select([caller], [], [], 0)[0]:
            client.get("/health/live").raise_for_status()
            answered += 1
        assert caller.recv(100).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 4"))
    assert answered > 3  # a held loop lets one or two through; a busy machine still lets ten


def test_text_where_numbers_belong_costs_no_memory(client: httpx.Client) -> None:
    """As an array of text each of these cells would be as wide as the widest: terabytes in all."""
    body = json.dumps({"z": [["x" * 8_000_000] + [""] * 19] + [[""] * 20] * 4000})
    problem(client.post("/decode", content=body), 422, "unusable_input")
    end = {"start": {"z": ["x" * 60_000_000] + [""] * 100_000}, "end": {"z": [0.0] * 20}}
    problem(client.post("/interpolate", json=end), 422, "unusable_input")


def test_other_callers_get_the_same_bytes_meanwhile(client: httpx.Client, pngs: list[bytes]) -> None:
    before = client.post("/encode", content=pngs[0]).content
    jpeg, gif, bmp, tiff = b"\xff\xd8\xff\xe0" * 100, b"GIF89a", b"BM" + b"\xff" * 100, b"II*\0\xff\xff\xff\xff"
    for hostile in (pngs[1][:80], jpeg, gif, bmp, tiff, npy(np.zeros(3))):
        assert 400 <= client.post("/encode", content=hostile).status_code < 500
    assert client.post("/encode", content=pngs[0]).content == before
