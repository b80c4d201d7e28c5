"""The event loop itself decodes only small pictures with little beside their pixels."""

import io
import random
import struct
from typing import Any

import pytest
from PIL import Image

from service.formats.inline_decoding import quick_pixels, webp_size
from tests.live.costly_pictures import flat_png, noisy, saved, scans, ztxt
from tests.models.test_strip_metadata import chunk, exif, segment
from tests.service.png_files import EXIF, OTHERS


def png(*extra: bytes) -> bytes:
    return flat_png(28, 20, 8, 0, 1, b"".join(extra))


def jpeg(*extra: bytes) -> bytes:
    data = saved("RGB", 28, 20, "JPEG")
    return data[:2] + b"".join(extra) + data[2:]


QUICK = {
    "PNG": png(),
    "PNG with colours": flat_png(28, 20, 8, 2, 3),
    "PNG of 16 bits": flat_png(28, 20, 16, 0, 1),
    "PNG with a palette": saved("P", 28, 20, "PNG"),
    "PNG with small extras": png(chunk(b"gAMA", b"\0\0\xb1\x8f"), chunk(b"pHYs", bytes(9)), chunk(b"tEXt", b"Software\0x")),
    "PNG with EXIF": png(chunk(b"eXIf", EXIF)),
    "JPEG": jpeg(),
    "progressive JPEG": saved("RGB", 28, 20, "JPEG", progressive=True),
    "grey JPEG": saved("L", 28, 20, "JPEG"),
    "JPEG with EXIF": jpeg(segment(0xE1, b"Exif\0\0" + exif(6))),
    "JPEG with a comment": jpeg(segment(0xFE, b"hello")),
    "WebP": noisy(28, 20, "WEBP"),
    "lossless WebP": saved("RGB", 28, 20, "WEBP", lossless=True),
}
SLOW = {
    "nothing": b"",
    "texts that inflate": ztxt(28, 20, 3),
    "a profile": png(chunk(b"iCCP", b"x\0\0" + bytes(9))),
    "international text": png(chunk(b"iTXt", bytes(9))),
    "an animation": png(chunk(b"acTL", bytes(8))),
    "many chunks": png(*[chunk(b"gAMA", bytes(4))] * 40),
    "much EXIF": png(chunk(b"eXIf", bytes(5000))),
    "no end": png()[:-12],
    "many scans": scans(28, 20, 50)[0],
    "many segments": jpeg(*[segment(0xFE, b"")] * 40),
    "a large profile": jpeg(segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(9000))),
    "much EXIF in a JPEG": jpeg(segment(0xE1, b"Exif\0\0" + bytes(5000))),
    "several pictures": jpeg(segment(0xE2, b"MPF\0" + bytes(80))),
    "a lossless JPEG": jpeg().replace(b"\xff\xc0", b"\xff\xc3"),
    "WebP with extensions": noisy(28, 20, "WEBP", exif=b"Exif\0\0" + exif(6)),
    "GIF": saved("L", 28, 20, "GIF"),
    "BMP": saved("L", 28, 20, "BMP"),
    "TIFF": saved("L", 28, 20, "TIFF"),
}


@pytest.mark.parametrize("name", QUICK)
def test_small_and_clean(name: str) -> None:
    with Image.open(io.BytesIO(QUICK[name])) as image:
        assert quick_pixels(QUICK[name]) == image.width * image.height == 560


@pytest.mark.parametrize("name", SLOW)
def test_anything_else(name: str) -> None:
    assert quick_pixels(SLOW[name]) is None


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0" + exif(1)}, {"lossless": True, "xmp": b"x"}])
@pytest.mark.parametrize("size", [(1, 1), (300, 7), (16383, 2)])
def test_size_of_webp(size: tuple[int, int], options: dict[str, Any]) -> None:
    assert webp_size(saved("RGB", *size, "WEBP", **options)) == size
    assert webp_size(saved("RGB", *size, "PNG")) is None


def test_pixels_are_never_fewer_than_what_is_decoded() -> None:
    """Whatever is changed in a file: if it counts as quick, no more pixels than these are decoded."""
    chance, compared = random.Random(0), 0
    for data in [*QUICK.values(), *OTHERS.values()]:
        for _ in range(60):
            spoiled = bytearray(data)
            for _ in range(chance.choice((1, 2, 5))):
                if spoiled:
                    spoiled[chance.randrange(min(len(spoiled), 700))] = chance.randrange(256)
            found = quick_pixels(bytes(spoiled))
            if found is None or found > 128 * 128:
                continue
            try:
                with Image.open(io.BytesIO(spoiled)) as image:
                    image.load()
                    assert image.width * image.height <= found
                    compared += 1
            except (OSError, SyntaxError, ValueError, struct.error, EOFError):
                continue
    assert compared > 100
