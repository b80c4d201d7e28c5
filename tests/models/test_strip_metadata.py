"""Texts, profiles and comments beyond what ordinary pictures carry are left out of files, and nothing else is."""

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.preprocess import ORIENTATION, Preprocessing, preprocess, upright_size
from models.strip_metadata import KEPT_BYTES, strip_metadata

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
SMALL, LARGE = b"a" * 1000, bytes(range(256)) * 400


def saved(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, content: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content) if crc is None else crc)
    )


def png(*chunks: bytes) -> bytes:
    data = saved("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(*segments: bytes) -> bytes:
    data = saved("JPEG", quality=95)
    return data[:2] + b"".join(segments) + data[2:]


def extension(label: int, content: bytes) -> bytes:
    blocks = [content[i : i + 255] for i in range(0, len(content), 255)]
    return bytes([0x21, label]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def gif(*extensions: bytes) -> bytes:
    data = saved("GIF")
    start = 13 + (6 << (data[10] & 7))
    return data[:start] + b"".join(extensions) + data[start:]


def exif(orientation: int, more: bytes = b"") -> bytes:
    made = Image.Exif()
    made[ORIENTATION] = orientation
    return made.tobytes()[6:] + more  # behind the name


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
SAME = {
    "a PNG": saved("PNG"),
    "a JPEG": saved("JPEG"),
    "a progressive JPEG": saved("JPEG", progressive=True, exif=b"Exif\0\0" + exif(3), comment=SMALL),
    "a GIF": gif(extension(0xFE, SMALL)),
    "a WebP": saved("WEBP", exif=exif(3)),
    "a TIFF": saved("TIFF"),
    "a BMP": saved("BMP"),
    "texts": png(chunk(b"tEXt", b"key\0" + SMALL), chunk(b"zTXt", b"key\0\0" + zlib.compress(SMALL))),
    "XMP": png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
    "compressed XMP": png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))),
    "a profile": jpeg(segment(0xE2, b"ICC_PROFILE\0\1\1" + SMALL)),
    "nothing": b"",
    "a wrong CRC": png(chunk(b"tEXt", b"key\0" + LARGE, crc=7)),
}


@pytest.mark.parametrize("name", SAME)
def test_ordinary_files_stay_as_they_are(name: str) -> None:
    assert strip_metadata(SAME[name]) is SAME[name]


BOMB = zlib.compress(bytes(1 << 20))
LEANER = {
    "a long text": png(chunk(b"tEXt", b"key\0" + LARGE)),
    "a text that inflates": png(chunk(b"zTXt", b"key\0\0" + BOMB)),
    "international text that inflates": png(chunk(b"iTXt", b"key\0\1\0en\0key\0" + BOMB)),
    "a profile that inflates": png(chunk(b"iCCP", b"key\0\0" + BOMB)),
    "many texts": png(*[chunk(b"tEXt", b"key\0" + SMALL)] * 100),
    "empty chunks": png(*[chunk(b"aaAa", b"")] * 10_000),
    "texts behind the pixels": saved("PNG")[:-12] + chunk(b"tEXt", b"key\0" + LARGE) + saved("PNG")[-12:],
    "much EXIF": png(chunk(b"eXIf", exif(1, LARGE))),
    "segments": jpeg(*[segment(0xE5, SMALL * 60)] * 5),
    "comments": jpeg(*[segment(0xFE, SMALL)] * 100),
    "empty segments": jpeg(*[segment(0xED, b"")] * 10_000),
    "a profile in parts": jpeg(*[segment(0xE2, b"ICC_PROFILE\0" + bytes([i, 9]) + SMALL * 60) for i in range(1, 10)]),
    "EXIF again and again": jpeg(*[segment(0xE1, b"Exif\0\0" + exif(1, SMALL * 50))] * 20),
    "comments of a GIF": gif(*[extension(0xFE, SMALL)] * 100),
    "empty comments of a GIF": gif(*[extension(0xFE, b"")] * 10_000),
    "a long application's block": gif(extension(0xFF, b"NETSCAPE2.0" + LARGE)),
}


@pytest.mark.parametrize("name", LEANER)
def test_what_nobody_looks_at_is_bounded(name: str) -> None:
    data = LEANER[name]
    lean = strip_metadata(data)
    assert len(lean) <= len(saved("PNG")) + 2 * KEPT_BYTES
    assert len(lean) < len(data)
    assert strip_metadata(lean) == lean or len(strip_metadata(lean)) <= len(lean)
    kind = {b"\x89": "PNG", b"\xff": "JPEG", b"G": "GIF"}[data[:1]]
    spec = Preprocessing(3, 20, 30)
    plain = saved(kind, quality=95) if kind == "JPEG" else saved(kind)
    with Image.open(io.BytesIO(lean)) as image, Image.open(io.BytesIO(plain)) as wanted:
        np.testing.assert_array_equal(preprocess(image, spec), preprocess(wanted, spec))
        assert sum(len(str(value)) for value in image.info.values()) < 8 * KEPT_BYTES


@pytest.mark.parametrize(
    "data",
    [
        png(chunk(b"eXIf", exif(6)), chunk(b"zTXt", b"key\0\0" + BOMB)),
        png(chunk(b"zTXt", b"key\0\0" + BOMB), chunk(b"eXIf", exif(6))),
        png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP), chunk(b"zTXt", b"key\0\0" + BOMB)),
        jpeg(*[segment(0xFE, SMALL)] * 100, segment(0xE1, b"Exif\0\0" + exif(6))),
        jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP), *[segment(0xFE, SMALL)] * 100),
    ],
    ids=range(5),
)
def test_orientation_stays(data: bytes) -> None:
    assert len(strip_metadata(data)) < len(data)
    with Image.open(io.BytesIO(strip_metadata(data))) as image:
        assert upright_size(image) == (30, 20)


def test_transparency_palettes_and_animations_stay() -> None:
    image = Image.fromarray(PIXELS).quantize(200)
    out = io.BytesIO()
    image.save(out, "PNG", transparency=bytes(range(200)), save_all=True, append_images=[image.rotate(180)])
    data = out.getvalue()
    loaded = data[:33] + chunk(b"tEXt", b"key\0" + LARGE) + data[33:]
    assert strip_metadata(loaded) == data


def test_arbitrary_changes_raise_nothing_and_keep_what_is_malformed() -> None:
    chance = random.Random(0)
    for data in [*SAME.values(), *LEANER.values()]:
        for _ in range(20):
            spoiled = bytearray(data)
            for _ in range(chance.choice((1, 3, 30))):
                if spoiled:
                    spoiled[chance.randrange(min(len(spoiled), 2000))] = chance.randrange(256)
            cut = bytes(spoiled[: chance.randrange(len(spoiled) + 1)])
            assert len(strip_metadata(cut)) <= len(cut)
