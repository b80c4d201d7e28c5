"""PNG files of the plainest kind, read by libspng and, when they are small, written without the way through Pillow's plugin,
which takes most of their time. Whatever is not that plain, or is broken, is left to Pillow.

Knows nothing of models, limits or HTTP.
"""

import io
import struct
import zlib
from functools import cache

import numpy as np
import pyspng

from models.mosaic import to_image
from models.preprocess import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types
# of the compression: several times as fast as the default, a few percent larger
LEVEL = 1
# Larger pictures are written by Pillow: the time is in the compression then, and its choice of filters saves bytes.
SMALL_PIXELS = 64 * 64


def read_plain(data: bytes, channels: int, height: int, width: int) -> Pixels | None:
    """uint8 (C, H, W) of a PNG that has just that size and colours, 8 bits, and nothing but pixels; None for any other."""
    start = _start(channels, height, width)
    first = len(start) + 8  # after the length and the name of the chunk with the pixels
    size = len(data) - first - 4 - len(_END)
    if size < 0 or not data.startswith(start + struct.pack(">I", size) + b"IDAT") or not data.endswith(_END):
        return None
    view = memoryview(data)
    if zlib.crc32(view[first - 4 : first + size]) != int.from_bytes(data[first + size : first + size + 4]):
        return None
    # libspng stops after the last pixel, before the checksum of the stream, and takes what follows it for padding
    stream, length = zlib.decompressobj(), height * (1 + width * channels)
    try:
        if len(stream.decompress(view[first : first + size], length + 1)) != length or not stream.eof or stream.unused_data:
            return None
    except zlib.error:
        return None
    try:
        pixels = pyspng.load(data)
    except RuntimeError:  # Pillow says what is wrong with it, or reads it after all
        return None
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def write(pixels: Pixels) -> bytes:
    """uint8 (H, W, C) -> PNG."""
    height, width, channels = pixels.shape
    if height * width > SMALL_PIXELS:
        out = io.BytesIO()
        to_image(pixels).save(out, "PNG", compress_level=LEVEL)
        return out.getvalue()
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter: none
    lines[:, 1:] = pixels.reshape(height, -1)
    return _start(channels, height, width) + _chunk(b"IDAT", zlib.compress(lines.data, LEVEL)) + _END


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@cache
def _start(channels: int, height: int, width: int) -> bytes:
    """All that comes before the pixels; it is the same for all pictures of a size."""
    return SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, {1: GREY, 3: RGB}[channels], 0, 0, 0))


_END = _chunk(b"IEND", b"")
