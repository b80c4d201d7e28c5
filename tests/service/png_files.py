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


def pixels_of(channels: int, height: int, width: int) -> Pixels:
    """Noise on a gradient, so that every filter has something to predict."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(height * 64 + width).integers(0, 60, (height, width, channels))
    pixels: Pixels = ((7 * x + 5 * y)[..., None] + noise).astype(np.uint8)
    return pixels


# --- of the size and colours of GREY, or nearly so, and yet not plain

GREY = pixels_of(1, 8, 8)
COLOUR = pixels_of(3, 8, 8)
START, END = header(GREY), chunk(b"IEND")
DATA = zlib.compress(lines(GREY, [0]))
EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # to be turned by 90 degrees


def sixteen_bits(pixels: Pixels) -> bytes:
    return zlib.compress(lines(np.repeat(pixels, 2, axis=2), [0]))


OTHERS: dict[str, bytes] = {
    "nothing": b"",
    "the signature": SIGNATURE,
    "no data": START + END,
    "empty data": START + chunk(b"IDAT") + END,
    "no end": START + chunk(b"IDAT", DATA),
    "an end without its CRC": START + chunk(b"IDAT", DATA) + END[:-1],
    "an end with another CRC": START + chunk(b"IDAT", DATA) + chunk(b"IEND", crc=1),
    "a header with another CRC": header(GREY, crc=1) + chunk(b"IDAT", DATA) + END,
    "another width": plain(pixels_of(1, 8, 9)),
    "another height": plain(pixels_of(1, 9, 8)),
    "width and height exchanged": plain(pixels_of(1, 4, 16)),
    "colours": plain(COLOUR),
    "alpha": header(pixels_of(2, 8, 8)) + chunk(b"IDAT", zlib.compress(lines(pixels_of(2, 8, 8), [0]))) + END,
    "16 bits": header(GREY, depth=16) + chunk(b"IDAT", sixteen_bits(GREY)) + END,
    "4 bits": header(GREY, depth=4) + chunk(b"IDAT", zlib.compress(bytes(5) * 8)) + END,
    "interlaced": header(GREY, interlace=1) + chunk(b"IDAT", zlib.compress(bytes(79))) + END,
    "a palette": header(GREY, colour=3) + chunk(b"PLTE", bytes(range(255))) + chunk(b"IDAT", DATA) + END,
    "a palette without a palette": header(GREY, colour=3) + chunk(b"IDAT", DATA) + END,
    "a transparent grey": START + chunk(b"tRNS", b"\0\0") + chunk(b"IDAT", DATA) + END,
    "a gamma": START + chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"IDAT", DATA) + END,
    "a text before": START + chunk(b"tEXt", b"Title\0x") + chunk(b"IDAT", DATA) + END,
    "a text after": START + chunk(b"IDAT", DATA) + chunk(b"tEXt", b"Title\0x") + END,
    "turned, before": START + chunk(b"eXIf", EXIF) + chunk(b"IDAT", DATA) + END,
    "turned, after": START + chunk(b"IDAT", DATA) + chunk(b"eXIf", EXIF) + END,
    "an animation": START + chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"IDAT", DATA) + END,
    "data in two chunks": START + chunk(b"IDAT", DATA[:9]) + chunk(b"IDAT", DATA[9:]) + END,
    "data and an empty chunk": START + chunk(b"IDAT", DATA) + chunk(b"IDAT") + END,
    "an empty chunk and data": START + chunk(b"IDAT") + chunk(b"IDAT", DATA) + END,
    "two ends": START + chunk(b"IDAT", DATA) + END + END,
    "bytes behind the end": plain(GREY) + b"\0",
    "bytes before the start": b"\0" + plain(GREY),
    "two pictures": plain(GREY) + plain(GREY),
    "a longer chunk by its word": START + struct.pack(">I", len(DATA) + 1) + chunk(b"IDAT", DATA)[4:] + END,
    "a shorter chunk by its word": START + struct.pack(">I", len(DATA) - 1) + chunk(b"IDAT", DATA)[4:] + END,
    "another name of the data": START + chunk(b"IDAt", DATA) + END,
    "truncated data": START + chunk(b"IDAT", DATA[:-8]) + END,
    "data that are none": START + chunk(b"IDAT", b"rubbish" * 9) + END,
    "an unknown filter": START + chunk(b"IDAT", zlib.compress(b"\x05" + bytes(8) * 9)) + END,
    "no PNG": b"GIF89a" + bytes(80),
}
