"""Reads and writes the simplest PNG files without Pillow, whose PNG plugin takes most of the time of a small picture.

zlib inflates them, as it does for Pillow, and libspng reads those whose lines are filtered; any file that is not so simple, or
is corrupt, is left to Pillow. ISA-L compresses those that are written, more than ten times as fast as zlib for files of about
the same size. Knows nothing of models, limits or HTTP.
"""

import struct
import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyspng
from isal import isal_zlib

from models.preprocess import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types
# Level 0 of ISA-L takes half the time of level 1 and makes files a sixth larger. For small pictures time matters more: many
# of them are written at once. The lines of a small picture are not filtered, those of a larger one all alike.
SMALL_PIXELS = 64 * 64
LEVEL_OF_LARGE, LEVEL_OF_SMALL = 1, 0
UP = 2  # the filter of PNG that takes the difference from the line above


def read_plain(data: bytes, channels: int, height: int, width: int) -> Pixels | None:
    """Read a PNG with exactly this size, 8 bits per channel, and nothing but pixels, as uint8 (C, H, W).

    Return None for any other file.
    """
    lines, line = _inflated(data, channels, height, width), 1 + width * channels  # the first byte of a line is its filter
    if lines is None:
        return None
    if any(lines[::line]):
        return _filtered(data, channels)
    pixels = np.frombuffer(lines, np.uint8).reshape(height, line)[:, 1:]
    return pixels.reshape(height, width, channels).transpose(2, 0, 1).copy()


def read_plain_each(files: Sequence[bytes], channels: int, height: int, width: int) -> tuple[list[int], Pixels]:
    """Read those of some files that `read_plain` reads: return their numbers and pixels, uint8 (n, C, H, W)."""
    found = {i: lines for i, data in enumerate(files) if (lines := _inflated(data, channels, height, width)) is not None}
    each = np.frombuffer(b"".join(found.values()), np.uint8).reshape(len(found), height, 1 + width * channels)
    try:
        pixels = _without_filters(each, channels) if each[:, :, 0].any() else each[:, :, 1:]
    except RuntimeError:  # The lines of one of them have a filter that does not exist.
        alone = {i: one for i in found if (one := read_plain(files[i], channels, height, width)) is not None}
        return list(alone), np.array(list(alone.values()), np.uint8).reshape(-1, channels, height, width)
    return list(found), np.ascontiguousarray(pixels.reshape(-1, height, width, channels).transpose(0, 3, 1, 2))


def _without_filters(lines: Pixels, channels: int) -> Pixels:
    """Undo the filters of the lines of N pictures: uint8 (N, H, 1 + W C) -> (N, H, W C). Raises RuntimeError.

    libspng does so as fast as it can, but takes longer to begin with a file. So it gets all of them as one high picture, with
    an empty line above each, since the first line of a picture has nothing above it.
    """
    count, height, line = lines.shape
    apart = np.zeros((count, 1 + height, line), np.uint8)
    apart[:, 1:] = lines
    start = _start(channels, count * (1 + height), (line - 1) // channels)
    pixels: Pixels = pyspng.load(b"%b%b%b" % (start, _chunk(b"IDAT", zlib.compress(apart.data, 0)), _END))
    return pixels.reshape(count, 1 + height, line - 1)[:, 1:]


def _inflated(data: bytes, channels: int, height: int, width: int) -> bytes | None:
    """Return the lines of a plain file, each with its filter; None for any other file."""
    start = _start(channels, height, width)
    first = len(start) + 8  # skips the length and the name of the chunk with the pixels
    size = len(data) - first - 4 - len(_END)
    if size < 0 or not data.startswith(start + struct.pack(">I", size) + b"IDAT") or not data.endswith(_END):
        return None
    view = memoryview(data)
    if zlib.crc32(view[first - 4 : first + size]) != int.from_bytes(data[first + size : first + size + 4]):
        return None
    # Not by ISA-L, which is faster, but accepts streams that zlib, and so Pillow, calls corrupt.
    stream, wanted = zlib.decompressobj(), height * (1 + width * channels)
    try:
        lines = stream.decompress(view[first : first + size], wanted + 1)
    except zlib.error:
        return None
    return lines if len(lines) == wanted and stream.eof and not stream.unused_data else None


def _filtered(data: bytes, channels: int) -> Pixels | None:
    """Read a plain file whose lines are filtered; None if libspng cannot."""
    # libspng stops after the last pixel: it neither checks the checksum of the zlib stream nor refuses data after it.
    try:
        pixels = pyspng.load(data)
    except RuntimeError:  # Pillow will say what is wrong with the file, or read it after all
        return None
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def write(pixels: Pixels) -> bytes:
    """Write uint8 (H, W, C) as a PNG file."""
    return write_each(pixels[None])[0]


def write_each(pixels: Pixels) -> list[bytes]:
    """Write uint8 (N, H, W, C) as N PNG files."""
    if not len(pixels):
        return []
    if pixels.shape[1] * pixels.shape[2] <= SMALL_PIXELS:
        return _files(pixels)
    return [_files(picture[None], large=True)[0] for picture in pixels]


def _files(pixels: Pixels, large: bool = False) -> list[bytes]:
    count, height, width, channels = pixels.shape
    lines = np.zeros((count, height, 1 + width * channels), np.uint8)  # the first byte of a line is its filter
    lines[:, :, 1:] = pixels.reshape(count, height, -1)
    if large:
        _filter(lines[0])
    raw, size = lines.data.cast("B"), height * (1 + width * channels)
    start, files = _start(channels, height, width), []
    for first in range(0, count * size, size):
        data = b"IDAT" + isal_zlib.compress(raw[first : first + size], LEVEL_OF_LARGE if large else LEVEL_OF_SMALL)
        files.append(b"%b%b%b%b%b" % (start, (len(data) - 4).to_bytes(4), data, zlib.crc32(data).to_bytes(4), _END))
    return files


def _filter(lines: Pixels) -> None:
    """Replace each byte of a picture's lines by its difference from the one above, if that makes the bytes smaller in sum.

    The rule is that of the PNG specification (section 12.8, "minimum sum of absolute differences"), for all lines together.
    """
    differences = lines[1:] - lines[:-1]
    if _size(differences) < _size(lines[1:]):
        lines[1:] = differences
        lines[:, 0] = UP  # The line above the first one counts as zeros.


def _size(values: Pixels) -> int:
    """Return the sum of the absolute values of bytes, as signed numbers."""
    return int(np.minimum(values, -values).sum(dtype=np.int64))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@cache
def _start(channels: int, height: int, width: int) -> bytes:
    """Return the file's bytes before the pixels, which are the same for all pictures of one size."""
    return SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, {1: GREY, 3: RGB}[channels], 0, 0, 0))


_END = _chunk(b"IEND", b"")
