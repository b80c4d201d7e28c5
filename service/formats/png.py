"""Reads and writes the simplest PNG files without Pillow, whose PNG plugin takes most of the time of a small picture.

libspng reads them; any file that is not so simple, or is corrupt, is left to Pillow. ISA-L compresses those that are written.
Knows nothing of models, limits or HTTP.
"""

import io
import struct
import zlib
from functools import cache

import numpy as np
import pyspng
from isal import isal_zlib

from models.mosaic import to_image
from models.preprocess import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types
# Pillow writes larger pictures: most of their time is compression, and its choice of filters saves bytes.
SMALL_PIXELS = 64 * 64
# Level 1 of zlib is several times as fast as its default and makes files a few percent larger. Level 0 of ISA-L takes 1 us
# where that takes 16 us, more than the decoder of a small model, and makes files a sixth to a half larger.
LEVEL_OF_LARGE, LEVEL_OF_SMALL = 1, 0


def read_plain(data: bytes, channels: int, height: int, width: int) -> Pixels | None:
    """Read a PNG with exactly this size, 8 bits per channel, and nothing but pixels, as uint8 (C, H, W).

    Return None for any other file.
    """
    start = _start(channels, height, width)
    first = len(start) + 8  # skips the length and the name of the chunk with the pixels
    size = len(data) - first - 4 - len(_END)
    if size < 0 or not data.startswith(start + struct.pack(">I", size) + b"IDAT") or not data.endswith(_END):
        return None
    view = memoryview(data)
    if zlib.crc32(view[first - 4 : first + size]) != int.from_bytes(data[first + size : first + size + 4]):
        return None
    # libspng stops after the last pixel: it neither checks the checksum of the zlib stream nor refuses data after it.
    stream, length = zlib.decompressobj(), height * (1 + width * channels)
    try:
        if len(stream.decompress(view[first : first + size], length + 1)) != length or not stream.eof or stream.unused_data:
            return None
    except zlib.error:
        return None
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
    count, height, width, channels = pixels.shape
    if height * width > SMALL_PIXELS:
        return [_by_pillow(picture) for picture in pixels]
    lines = np.zeros((count, height, 1 + width * channels), np.uint8)  # the first byte of a line is its filter: 0 for none
    lines[:, :, 1:] = pixels.reshape(count, height, -1)
    raw, size = lines.data.cast("B"), height * (1 + width * channels)
    start, files = _start(channels, height, width), []
    for first in range(0, count * size, size):
        data = b"IDAT" + isal_zlib.compress(raw[first : first + size], LEVEL_OF_SMALL)
        files.append(b"%b%b%b%b%b" % (start, (len(data) - 4).to_bytes(4), data, zlib.crc32(data).to_bytes(4), _END))
    return files


def _by_pillow(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    to_image(pixels).save(out, "PNG", compress_level=LEVEL_OF_LARGE)
    return out.getvalue()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@cache
def _start(channels: int, height: int, width: int) -> bytes:
    """Return the file's bytes before the pixels, which are the same for all pictures of one size."""
    return SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, {1: GREY, 3: RGB}[channels], 0, 0, 0))


_END = _chunk(b"IEND", b"")
