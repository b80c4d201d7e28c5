"""PNG files made line by line and chunk by chunk, as other encoders make them, and as nobody should."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
FILTERS = range(5)
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels


def chunk(name: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    """One chunk; its CRC is right unless another one is given."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) if crc is None else crc)


def header(pixels: Pixels, depth: int = 8, colour: int | None = None, interlace: int = 0, crc: int | None = None) -> bytes:
    """The signature and the chunk IHDR for pixels (H, W, C)."""
    height, width, channels = pixels.shape
    colour = COLOUR_TYPES[channels] if colour is None else colour
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace), crc)


def lines(pixels: Pixels, filters: Sequence[int]) -> bytes:
    """Scan lines, each behind the number of its filter (PNG specification, section 9); `filters` are used in turn."""
    height, width, channels = pixels.shape
    flat = pixels.reshape(height, width * channels).astype(np.int16)
    out = bytearray()
    for y in range(height):
        kind = filters[y % len(filters)]
        left = np.concatenate([np.zeros(channels, np.int16), flat[y, :-channels]])  # a
        above = flat[y - 1] if y else np.zeros_like(left)  # b
        corner = np.concatenate([np.zeros(channels, np.int16), above[:-channels]])  # c
        predicted = [np.zeros_like(left), left, above, (left + above) // 2, paeth(left, above, corner)][kind]
        out.append(kind)
        out += ((flat[y] - predicted) % 256).astype(np.uint8).tobytes()
    return bytes(out)


def paeth(a: NDArray[np.int16], b: NDArray[np.int16], c: NDArray[np.int16]) -> NDArray[np.int16]:
    """Whichever of left, above and corner is nearest to left + above - corner, in this order."""
    p = a + b - c
    to_a, to_b, to_c = abs(p - a), abs(p - b), abs(p - c)
    return np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))


def plain(pixels: Pixels, filters: Sequence[int] = (0,), level: int = 6) -> bytes:
    """uint8 (H, W, 1) or (H, W, 3) -> signature, IHDR, one IDAT, IEND."""
    return header(pixels) + chunk(b"IDAT", zlib.compress(lines(pixels, filters), level)) + chunk(b"IEND")
