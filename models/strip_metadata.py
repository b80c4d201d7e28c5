"""Remove excessive metadata (texts, profiles, comments) from the bytes of picture files before Pillow opens them.

Pillow reads and inflates all metadata before the pixels, and a hostile file of 60 KB can cost seconds. Pixels, palettes and
transparency always stay. Malformed data stays too, so that Pillow reports the defect.
Knows nothing of pixels or models.
"""

import zlib
from collections.abc import Iterator

# Bytes of metadata that are kept, measured after inflating; and the cost that is added for each entry.
KEPT_BYTES, EACH_BYTES = 1 << 16, 16

# PNG chunks that pixels and animations depend on. Chunks that start with a capital letter are always kept too.
_PNG_PIXELS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
_JPEG_APP0, _JPEG_APP1, _JPEG_ADOBE, _JPEG_APP15, _JPEG_COMMENT = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_GIF_EXTENSION, _GIF_CONTROL = 0x21, 0xF9

Span = tuple[int, int]


def strip_metadata(data: bytes) -> bytes:
    """Return the same picture without excessive metadata; for nearly all files these are the same bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        dropped = list(_joined(_png(data)))
    elif data.startswith(b"\xff\xd8\xff"):
        dropped = list(_joined(_jpeg(data)))
    elif data.startswith((b"GIF87a", b"GIF89a")):
        dropped = list(_joined(_gif(data)))
    else:
        return data
    if not dropped:
        return data
    view = memoryview(data)
    starts, ends = [0, *(end for _, end in dropped)], [*(start for start, _ in dropped), len(data)]
    return b"".join(view[start:end] for start, end in zip(starts, ends, strict=True))


def _joined(spans: Iterator[Span]) -> Iterator[Span]:
    """Merge adjacent spans, because a hostile file has millions of them."""
    last: Span | None = None
    for span in spans:
        if last is not None and last[1] == span[0]:
            last = last[0], span[1]
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


class _Allowance:
    """Counts how many bytes of metadata may still be kept."""

    def __init__(self) -> None:
        self.left = KEPT_BYTES

    def keeps(self, size: int) -> bool:
        """Return whether there is room. An entry that is too large uses up the rest, which bounds the work for a file."""
        kept = size + EACH_BYTES <= self.left
        self.left -= min(self.left, size + EACH_BYTES)
        return kept


def _png(data: bytes) -> Iterator[Span]:
    """Yield the chunks to remove."""
    place, view, texts, exif = 8, memoryview(data), _Allowance(), _Allowance()
    while place + 12 <= len(data):
        length, name = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        end = place + 12 + length
        if end > len(data) or name == b"IEND":
            return
        if name[0] & 32 and name not in _PNG_PIXELS:
            is_exif = name == b"eXIf"
            if not (exif.keeps(length) if is_exif else texts.keeps(_inflated(name, view[place + 8 : end - 4], texts.left))):
                if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
                    return
                yield place, end
        place = end


def _inflated(name: bytes, content: memoryview, most: int) -> int:
    """Return the size of a chunk's text or profile after inflating; stop soon after `most`."""
    if len(content) > most or name not in (b"zTXt", b"iTXt", b"iCCP"):
        return len(content)
    whole = bytes(content)
    start = whole.find(b"\0") + 2
    if name == b"iTXt":  # Fields: key, compression flag, method, language, translated key.
        if whole[start - 1 : start] == b"\0":
            return len(whole)
        start = whole.find(b"\0", whole.find(b"\0", start + 1) + 1) + 1
    try:
        return len(whole) + len(zlib.decompressobj().decompress(whole[start:], most + 1))
    except zlib.error:
        return len(whole)


def _jpeg(data: bytes) -> Iterator[Span]:
    """Yield the segments to remove; only those before the first scan."""
    place, allowance, exif_seen = 2, _Allowance(), False
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # This is a fill byte.
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        if marker <= 1 or 0xD0 <= marker <= 0xDA or end < place + 4 or end > len(data):
            return
        if (_JPEG_APP1 <= marker <= _JPEG_APP15 and marker != _JPEG_ADOBE) or marker == _JPEG_COMMENT:
            is_exif = marker == _JPEG_APP1 and data[place + 4 : place + 10] == b"Exif\0\0"
            if is_exif and not exif_seen:
                exif_seen = True
            elif not allowance.keeps(end - place):
                yield place, end
        place = end


def _gif(data: bytes) -> Iterator[Span]:
    """Yield the extensions to remove before the first frame; the rest is not read."""
    place, allowance = 13, _Allowance()
    if len(data) > place and data[10] & 128:
        place += 6 << (data[10] & 7)
    while place + 2 < len(data) and data[place] == _GIF_EXTENSION:
        end = place + 2
        while end < len(data) and data[end]:
            end += 1 + data[end]
        if end >= len(data):
            return
        end += 1
        if data[place + 1] != _GIF_CONTROL and not allowance.keeps(end - place):
            yield place, end
        place = end
