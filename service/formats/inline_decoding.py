"""Finds pictures that are certainly decoded within a millisecond or two, so that the event loop itself may decode them.

Such files are small, have few parts, and have nothing to inflate or to parse beside their pixels. Their headers show it, in
microseconds. Anything unknown counts as slow. Knows nothing of models, limits or HTTP.
"""

# Limits on the parts of a file, the scans of a JPEG, the bytes beside the pixels, and the bytes of EXIF data.
MAX_PARTS, MAX_SCANS, MAX_BESIDE = 32, 12, 8192
MAX_EXIF = 4096

_PNG_PARTS = {b"PLTE", b"IDAT", b"tRNS"}
_PNG_BESIDE = {b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"bKGD", b"tIME", b"sBIT", b"hIST", b"tEXt", b"eXIf"}
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2}
_JPEG_TABLES = {0xC4, 0xDB, 0xDD}


def quick_pixels(data: bytes) -> int | None:
    """Return the number of pixels of a picture whose decoding takes time only for its pixels; None for any other file."""
    if data.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    size = webp_size(data)
    if size is not None and data[12:16] != b"VP8X":  # the extended format may contain anything
        return size[0] * size[1]
    return None


def _png(data: bytes) -> int | None:
    pixels = int.from_bytes(data[16:20]) * int.from_bytes(data[20:24])
    place, beside = 33, 0
    for _ in range(MAX_PARTS):
        length, name = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        if name == b"IEND":
            return pixels
        if name not in _PNG_PARTS:
            beside += length
            if name not in _PNG_BESIDE or beside > MAX_EXIF:
                return None
        place += 12 + length
    return None


def _jpeg(data: bytes) -> int | None:
    place, beside, pixels = 2, 0, None
    for _ in range(MAX_PARTS):
        if data[place : place + 1] != b"\xff":
            return None
        marker, length = data[place + 1 : place + 2], int.from_bytes(data[place + 2 : place + 4])
        kind = marker[0] if marker else 0
        if kind == 0xDA:
            return pixels if data.count(b"\xff\xda") <= MAX_SCANS else None
        if kind in _JPEG_FRAMES:
            if pixels is not None:
                return None
            pixels = int.from_bytes(data[place + 5 : place + 7]) * int.from_bytes(data[place + 7 : place + 9])
        elif 0xE0 <= kind <= 0xEF or kind == 0xFE:
            beside += length
            is_exif = data[place + 4 : place + 8] == b"Exif"
            if beside > (MAX_EXIF if is_exif else MAX_BESIDE) or data[place + 4 : place + 8] == b"MPF\0":
                return None
        elif kind not in _JPEG_TABLES:
            return None
        place += 2 + length
    return None


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height in the header of a WebP file; None for any other file."""
    if not data.startswith(b"RIFF") or data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    if kind == b"VP8L" and data[20:21] == b"\x2f":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
