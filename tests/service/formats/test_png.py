"""Plain PNGs without Pillow's plugin: the same pixels as with it, and everything else is left to it."""

import io
import itertools
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models.preprocess import Preprocessing
from service.formats import pictures as codecs
from service.formats import png
from tests.service.png_files import (
    COLOUR,
    DATA,
    END,
    FILTERS,
    GREY,
    OTHERS,
    START,
    Pixels,
    chunk,
    header,
    lines,
    pixels_of,
    plain,
)


def read(data: bytes, pixels: Pixels) -> NDArray[np.uint8] | None:
    """Read a file alone, and check that it is read alike among others."""
    height, width, channels = pixels.shape
    found = png.read_plain(data, channels, height, width)
    numbers, each = png.read_plain_each([data, plain(pixels), data, plain(pixels, tuple(FILTERS))], channels, height, width)
    expected = pixels.transpose(2, 0, 1)
    assert (numbers, each.dtype.type) == ([1, 3] if found is None else [0, 1, 2, 3], np.uint8)
    np.testing.assert_array_equal(each, [expected] * 2 if found is None else [found, expected] * 2)
    return found


def by_pillow(data: bytes, pixels: Pixels) -> NDArray[np.uint8]:
    height, width, channels = pixels.shape
    return codecs.picture_pixels(codecs.open_picture(data, 10**6), Preprocessing(channels, height, width))


def check(data: bytes, pixels: Pixels) -> None:
    """It is read, and as Pillow reads it, which is what it was made of."""
    found = read(data, pixels)
    assert found is not None
    assert (found.dtype.type, found.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(found, pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(found, by_pillow(data, pixels))


# --- plain ones


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("filters", [*((kind,) for kind in FILTERS), (0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 4), (3, 3, 1)])
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_every_filter_and_level(channels: int, filters: Sequence[int], level: int) -> None:
    for height, width in ((1, 1), (28, 28), (12, 16), (2, 64)):
        pixels = pixels_of(channels, height, width)
        check(plain(pixels, filters, level), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_size(channels: int) -> None:
    for height, width in itertools.product((1, 2, 3, 7, 8, 9, 28, 31, 63, 64), repeat=2):
        pixels = pixels_of(channels, height, width)
        check(plain(pixels, tuple(FILTERS)), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"compress_level": 0}, {"compress_type": 3}])
def test_as_pillow_writes_them(channels: int, options: dict[str, int]) -> None:
    pixels = pixels_of(channels, 28, 20)
    out = io.BytesIO()
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(out, "PNG", **options)
    check(out.getvalue(), pixels)


@pytest.mark.parametrize("strategy", [zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED])
@pytest.mark.parametrize("window", [9, 15])
def test_however_it_is_compressed(strategy: int, window: int) -> None:
    pixels = pixels_of(1, 28, 28)
    compressor = zlib.compressobj(9, zlib.DEFLATED, window, 1, strategy)
    data = compressor.compress(lines(pixels, [4])) + compressor.flush()
    check(header(pixels) + chunk(b"IDAT", data) + chunk(b"IEND"), pixels)


# --- all others are left to Pillow


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_is_left_to_pillow(name: str) -> None:
    assert read(OTHERS[name], GREY) is None


def test_colours_where_greys_are_wanted_and_the_other_way_round() -> None:
    assert read(plain(GREY), COLOUR) is None
    assert read(plain(COLOUR), COLOUR) is not None


@pytest.mark.parametrize("trailing", [b"\0", b"more", b"\0\0\0\xffabcd" * 3])
def test_what_follows_the_pixels_inside_their_chunk_changes_nothing(trailing: bytes) -> None:
    """In the compressed stream, or behind it: what Pillow refuses is not read, what it reads is read alike."""
    for data in (DATA + trailing, zlib.compress(lines(GREY, [0]) + trailing)):
        agree(START + chunk(b"IDAT", data) + END)


# --- arbitrary bytes


def agree(data: bytes) -> bool:
    """Return whether the file was read; check that Pillow then reads the same pixels."""
    found = read(data, GREY)
    if found is not None:
        np.testing.assert_array_equal(found, by_pillow(data, GREY))
    return found is not None


def test_bytes_that_are_missing_at_the_end_of_the_lines() -> None:
    """In a stream that is complete for itself: what Pillow fills up is filled up alike."""
    raw = lines(GREY, [0])
    read_it = [agree(START + chunk(b"IDAT", zlib.compress(raw[: len(raw) - missing])) + END) for missing in range(73)]
    assert (read_it[0], read_it[1], read_it[72]) == (True, False, False)


@given(st.sampled_from(range(len(FILTERS))), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4))
def test_bytes_that_were_changed_anywhere(kind: int, changes: list[tuple[int, int]]) -> None:
    spoiled = bytearray(plain(GREY, [kind]))
    for place, value in changes:
        spoiled[place % len(spoiled)] = value
    read_it = agree(bytes(spoiled))
    assert read_it or bytes(spoiled) != plain(GREY, [kind])


@given(st.integers(0, 200), st.integers(0, 200), st.binary(max_size=20))
def test_bytes_that_were_cut_out_and_put_in(start: int, length: int, inserted: bytes) -> None:
    data = plain(GREY, tuple(FILTERS))
    agree(data[:start] + inserted + data[start + length :])


@given(st.binary(max_size=100), st.integers(0, 9))
def test_any_lines_in_a_well_formed_file(raw: bytes, level: int) -> None:
    agree(START + chunk(b"IDAT", zlib.compress(raw, level)) + END)


@given(st.lists(st.integers(0, 255), min_size=72, max_size=72))
def test_lines_of_any_bytes(raw: list[int]) -> None:
    """The right number of them: they are read unless a filter is unknown."""
    data = START + chunk(b"IDAT", zlib.compress(bytes(raw))) + END
    assert agree(data) == all(kind < 5 for kind in raw[::9])


@given(st.lists(st.integers(0, 6), min_size=8, max_size=8), st.binary(max_size=10))
def test_filters_known_and_unknown(kinds: list[int], behind: bytes) -> None:
    raw = b"".join(bytes([kind]) + GREY[0].tobytes() for kind in kinds)
    agree(START + chunk(b"IDAT", zlib.compress(raw + behind)) + END)


@given(st.binary(min_size=1, max_size=64))
def test_any_compressed_stream(stream: bytes) -> None:
    agree(START + chunk(b"IDAT", stream) + END)
    agree(START + chunk(b"IDAT", DATA[:2] + stream) + END)


# --- out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 64), (64, 1), (7, 5), (28, 28), (64, 64), (64, 65), (65, 64), (1, 4096), (1, 4097), (200, 100)],
)
def test_what_is_written_is_read_back(channels: int, height: int, width: int) -> None:
    pixels = pixels_of(channels, height, width)
    data = png.write(pixels)
    with Image.open(io.BytesIO(data)) as image:
        image.verify()  # all CRCs
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", {1: "L", 3: "RGB"}[channels], (width, height))
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    assert png.write(pixels.copy()) == data
    if height * width <= png.SMALL_PIXELS:
        check(data, pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_larger_picture_is_about_as_small_as_by_pillow(channels: int) -> None:
    """Its lines are differences; those of noise are not."""
    smooth = Image.fromarray(pixels_of(channels, 6, 5).squeeze()).resize((200, 300), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, channels), np.uint8)
    for pixels, most in ((np.asarray(smooth).reshape(300, 200, channels), 1.1), (noise, 1.01)):
        data, by_pillow = png.write(pixels), io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(by_pillow, "PNG", compress_level=1)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels.squeeze())
        assert len(data) <= most * len(by_pillow.getvalue())


def test_pixels_of_any_layout_in_memory_are_written() -> None:
    pixels = pixels_of(3, 12, 16)
    for same in (
        pixels[::-1][::-1],
        np.asfortranarray(pixels),
        np.ascontiguousarray(pixels.transpose(2, 0, 1)).transpose(1, 2, 0),
    ):
        assert png.write(same) == png.write(pixels)


@pytest.mark.parametrize("shape", [(0, 0, 0, 0), (0, 28, 28, 1), (0, 500, 500, 3)])
def test_no_pictures_are_no_files(shape: tuple[int, ...]) -> None:
    """A search that finds nothing has none, and does not know their size."""
    assert png.write_each(np.empty(shape, np.uint8)) == []
