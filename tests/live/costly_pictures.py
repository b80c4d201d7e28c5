"""Pictures of few bytes that cost much to decode: texts that inflate, deep greys, scans without end, large canvases."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def flat_png(width: int, height: int, depth: int, colour: int, channels: int, extra: bytes = b"", interlace: int = 0) -> bytes:
    """All of one value, compressed line by line, so that making it takes no memory either."""
    compressor = zlib.compressobj(9)
    line = b"\0" + b"\x55" * ((width * depth * channels + 7) // 8)
    data = [compressor.compress(line * 64) for _ in range(height // 64)] + [compressor.compress(line * (height % 64))]
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    body = b"".join(data) + compressor.flush()
    return SIGNATURE + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def ztxt(width: int, height: int, count: int) -> bytes:
    """A picture with texts beside it, each of which is inflated to nearly a megabyte."""
    text = zlib.compress(b"a" * ((1 << 20) - 64), 9)
    extra = b"".join(chunk(b"zTXt", b"key%d\0\0" % number + text) for number in range(count))
    return flat_png(width, height, 8, 0, 1, extra)


def deep(width: int, height: int) -> bytes:
    """16-bit grey."""
    return flat_png(width, height, 16, 0, 1)


def scans(width: int, height: int, count: int) -> tuple[bytes, int]:
    """A progressive JPEG with its shortest scan so many times more; and the bytes of that scan."""
    out = io.BytesIO()
    Image.new("L", (width, height), 99).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    starts = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    ends = [min(e for e in [*starts[i + 1 :], data.rindex(b"\xff\xd9")] if e > s) for i, s in enumerate(starts)]
    # the tables before the next scan belong to it, but they may be given again
    shortest = min((data[s:e] for s, e in zip(starts[1:], ends[1:], strict=True)), key=len)
    last = data.rindex(b"\xff\xd9")
    return data[:last] + shortest * count + data[last:], len(shortest)


def saved(mode: str, width: int, height: int, kind: str, **options: Any) -> bytes:
    """One flat colour."""
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, kind, **options)
    return out.getvalue()


def noisy(width: int, height: int, kind: str, **options: Any) -> bytes:
    """Coarse noise in colour."""
    small = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST).save(out, kind, **options)
    return out.getvalue()
