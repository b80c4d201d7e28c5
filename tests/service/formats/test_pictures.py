"""Pictures and base64 in; hostile bytes are bad input, never anything else."""

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models.preprocess import Preprocessing
from service.formats import pictures as codecs
from service.formats.errors import BadInput, TooBig, Undecodable, Unsupported

Pixels = NDArray[np.uint8]

GREY, COLOUR = Preprocessing(1, 8, 8), Preprocessing(3, 8, 8)
MANY = settings(max_examples=300, deadline=None, derandomize=True)


def pixels(channels: int = 1, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, channels), np.uint8)


def image(channels: int = 1) -> Image.Image:
    return Image.fromarray(pixels(channels)[..., 0] if channels == 1 else pixels(channels))


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def decoded(data: bytes, spec: Preprocessing = GREY, max_pixels: int = 10_000, item: int | None = None) -> Pixels:
    return codecs.picture_pixels(codecs.open_picture(data, max_pixels, item), spec, item)


SAMPLES = {
    "PNG": encoded(image(), "PNG"),
    "JPEG": encoded(image(3), "JPEG"),
    "WEBP": encoded(image(3), "WEBP", lossless=True),
    "GIF": encoded(image(), "GIF", save_all=True, append_images=[image().rotate(90)]),
    "BMP": encoded(image(3), "BMP"),
    "TIFF": encoded(image(3), "TIFF", compression="tiff_lzw"),
}

# --- pictures


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_pictures_arrive_as_they_are(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    colours = decoded(encoded(image(3), kind, **options), COLOUR)
    np.testing.assert_array_equal(colours, pixels(3).transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_greys_arrive_as_they_are(kind: str) -> None:
    np.testing.assert_array_equal(decoded(encoded(image(), kind)), pixels().transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_read_in_all_its_modes(mode: str) -> None:
    flat = Image.new("RGB", (8, 8), (200, 200, 200)).convert(mode)
    assert np.abs(decoded(encoded(flat, "JPEG", quality=95), COLOUR).astype(int) - 200).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_is_read_in_all_its_modes(mode: str) -> None:
    white = Image.new("RGB", (5, 9), "white").convert("L" if mode == "I;16" else mode)
    white = Image.fromarray(np.full((9, 5), 65535, np.uint16)) if mode == "I;16" else white
    assert decoded(encoded(white, "PNG"), Preprocessing(3, 9, 5)).min() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_of_many_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.new("L", (8, 8), grey) for grey in (255, 0)]
    assert decoded(encoded(frames[0], kind, save_all=True, append_images=frames[1:])).min() >= 250


# --- hostile pictures


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_truncated_picture_is_undecodable(kind: str) -> None:
    data = SAMPLES[kind]
    for length in range(4, len(data)):
        try:
            assert decoded(data[:length], COLOUR).shape == (3, 8, 8)
        except Undecodable:
            continue
        assert length > len(data) // 3, "a third of a picture is none"  # the first of two frames may be whole


@pytest.mark.parametrize("kind", SAMPLES)
@MANY
@given(data=st.data())
def test_a_spoiled_picture_is_bad_input_or_a_picture(kind: str, data: st.DataObject) -> None:
    spoiled = bytearray(SAMPLES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(spoiled)))
    for hostile in (bytes(spoiled), bytes(spoiled[:cut]), bytes(spoiled[:cut] + spoiled[cut // 2 :])):
        with contextlib.suppress(BadInput):
            assert decoded(hostile).shape == (1, 8, 8)


@MANY
@given(magic=st.sampled_from((b"", *codecs.MAGIC)), rest=st.binary(max_size=300))
def test_random_bytes_are_bad_input(magic: bytes, rest: bytes) -> None:
    with pytest.raises(BadInput):
        decoded(magic + rest)


def huge_png(width: int, height: int) -> bytes:
    """A small PNG whose header claims another size, with the right checksum."""
    data = SAMPLES["PNG"]
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def huge_gif(width: int, height: int) -> bytes:
    return SAMPLES["GIF"][:6] + struct.pack("<HH", width, height) + SAMPLES["GIF"][10:]


def huge_bmp(width: int, height: int) -> bytes:
    return SAMPLES["BMP"][:18] + struct.pack("<ii", width, height) + SAMPLES["BMP"][26:]


@pytest.mark.parametrize("forged", [huge_png, huge_gif, huge_bmp])
@pytest.mark.parametrize("size", [(101, 100), (10_000, 10_000), (65_000, 65_000)])
@pytest.mark.parametrize("bound", [None, Image.MAX_IMAGE_PIXELS])
def test_too_many_pixels_are_refused_by_the_header_alone(
    forged: Callable[[int, int], bytes], size: tuple[int, int], bound: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)  # the service takes Pillow's own bound away
    with pytest.raises(TooBig, match="pixels"):
        codecs.open_picture(forged(*size), max_pixels=10_000)


def test_as_many_pixels_as_allowed_are_allowed() -> None:
    assert codecs.open_picture(SAMPLES["PNG"], max_pixels=64).size == (8, 8)
    with pytest.raises(TooBig, match="item 3: the picture has 8 x 8 pixels, at most 63 are allowed"):
        codecs.open_picture(SAMPLES["PNG"], max_pixels=63, item=3)


@pytest.mark.parametrize("kind", ["TGA", "PPM", "ICO", "PCX", "JPEG2000", "SGI", "PDF", "EPS"])
def test_other_formats_that_pillow_knows_stay_closed(kind: str) -> None:
    picture = image(3).resize((32, 32))
    with pytest.raises(Unsupported, match=r"supported format \(PNG, JPEG, WebP, GIF, BMP, TIFF\)"):
        decoded(encoded(picture, kind))


@pytest.mark.parametrize(
    "data", [b"8BPS\0\1" + bytes(40), b"\0\0\0\x20ftypavif" + bytes(40), b"<svg xmlns='x'/>", b"hello", b"\0", b"PK\3\4"]
)
def test_what_is_no_picture_is_unsupported(data: bytes) -> None:
    with pytest.raises(Unsupported, match="its first bytes are '"):
        decoded(data)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"RIFF\x24\0\0\0WAVEfmt ", b"BM", b"II*\0", b"GIF89a"])
def test_what_only_starts_like_a_picture_is_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        decoded(data, item=2)
    assert caught.value.item == 2
    assert str(caught.value).startswith("item 2: ")
