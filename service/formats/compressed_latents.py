"""Converts quantised latents to the bytes of application/x-vae-latents and back. docs/latents.md has the layout byte by byte.

Knows nothing of models or HTTP, nor of how latents are quantised.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Undecodable, Unusable

MAGIC, VERSION = b"\x93VAELAT\n", 1
# magic, version, D, N, digest of the model, step in sigmas, number of words; the checksum follows
START = struct.Struct("<8sHHI32sdI")
CHECKSUM = struct.Struct("<I")
HEAD = START.size + CHECKSUM.size
# each dimension: the latent is index * scale; index of its first bin; number of its bins
DIMENSION = np.dtype([("scale", "<f4"), ("first", "<i4"), ("bins", "<u2")])
MOST_BINS = (1 << 16) - 1
# How far the bits of a LEB128 number are shifted, byte by byte.
BITS = np.arange(0, 35, 7)
# Larger indices times a float32 would not be exact in float64.
MOST_INDEX = 1 << 24
SEND = "send the file as /compress wrote it"


@dataclass(frozen=True, slots=True)
class CompressedLatents:
    """N latents of a model as indices of bins: the latent is index * scale."""

    digest: str  # 64 hexadecimal digits
    step: float  # in sigmas
    scale: NDArray[np.float32]  # (D,)
    index: NDArray[Any]  # (N, D), whole numbers

    def to_bytes(self) -> bytes:
        """Write the file. Equal latents give equal bytes on all machines. Raises Unusable for too many bins."""
        count, dim = self.index.shape
        lowest, highest = self.index.min(0), self.index.max(0)
        most = int(max(highest - lowest)) + 1
        if most > MOST_BINS or max(highest.max(), -lowest.min()) >= MOST_INDEX:
            raise Unusable(
                f"a dimension needs {most} bins at step={self.step:g}, at most {MOST_BINS} are allowed; use a larger step"
            )
        dimensions = np.empty(dim, DIMENSION)
        dimensions["scale"], dimensions["first"], dimensions["bins"] = self.scale, lowest, highest - lowest + 1
        symbols = (self.index - lowest).T.astype(np.int64)  # (D, N)
        histograms = [np.bincount(row, minlength=n) for row, n in zip(symbols, dimensions["bins"], strict=True)]
        words = _encode(symbols, histograms)
        start = START.pack(MAGIC, VERSION, dim, count, bytes.fromhex(self.digest), self.step, len(words))
        rest = dimensions.tobytes() + _varints(np.concatenate(histograms)) + words.tobytes()
        return start + CHECKSUM.pack(zlib.crc32(rest, zlib.crc32(start))) + rest


@dataclass(frozen=True, slots=True)
class Header:
    """The head of a file whose checksum is right; nothing else of it has been checked."""

    dim: int
    count: int
    digest: str
    step: float
    words: int


def _shown(start: bytes) -> str:
    """Return the first bytes of a file as text if they are some, otherwise as hexadecimal digits."""
    text = start.decode("ascii", "replace")
    return f'"{text}"' if text.isprintable() else f"the bytes {start.hex(' ')}"


def read_header(file: bytes) -> Header:
    """Check magic, version and checksum, and return the head. Raises Undecodable."""
    if not file.startswith(MAGIC):
        found = f"begins with {_shown(file[: len(MAGIC)])}" if file else "is empty"
        raise Undecodable(f"the body {found}, but compressed latents begin with {_shown(MAGIC)}; {SEND}")
    if len(file) < HEAD:
        raise Undecodable(f"the file of compressed latents has {len(file)} bytes, but its header alone has {HEAD}; {SEND}")
    _, version, dim, count, digest, step, words = START.unpack_from(file)
    (stated,) = CHECKSUM.unpack_from(file, START.size)
    checksum = zlib.crc32(file[HEAD:], zlib.crc32(file[: START.size]))
    if stated != checksum:
        raise Undecodable(
            f"the file of compressed latents is damaged: its checksum is {checksum:08x}, it states {stated:08x}; {SEND}"
        )
    if version != VERSION:
        raise Undecodable(
            f"the file of compressed latents has the version {version}; only {VERSION} is supported: make the file again"
        )
    if not dim or not count:
        raise _corrupt(f"it states {count} latents of {dim} dimensions")
    return Header(dim, count, digest.hex(), step, words)


def from_bytes(file: bytes) -> CompressedLatents:
    """Read a file that `to_bytes` has written. Raises Undecodable for any other one, also if only its checksum is right.

    Allocates 8 bytes for each of the N * D indices: check the header's count first.
    """
    header = read_header(file)
    after = HEAD + header.dim * DIMENSION.itemsize
    if after > len(file):
        raise _corrupt(f"it has {len(file)} bytes, which is too short for {header.dim} dimensions")
    dimensions = np.frombuffer(file, DIMENSION, header.dim, HEAD)
    scale, first, bins = dimensions["scale"], dimensions["first"].astype(np.int64), dimensions["bins"].astype(np.int64)
    if not (np.isfinite(scale).all() and (scale > 0).all() and np.isfinite(header.step) and header.step > 0):
        raise _corrupt("step and scales must be positive and finite")
    if not bins.all() or first.min() <= -MOST_INDEX or (first + bins).max() > MOST_INDEX:
        raise _corrupt("a dimension has no bins, or their indices are too large")
    words = len(file) - 4 * header.words  # where they begin
    if words < after:
        raise _corrupt(f"it has {len(file)} bytes, which is too short for {header.words} words")
    counts = _numbers(np.frombuffer(file, np.uint8, words - after, after))
    if len(counts) != bins.sum():
        raise _corrupt(f"it has {len(counts)} counts of bins, but its header says {bins.sum()}")
    histograms = np.split(counts, np.cumsum(bins)[:-1])
    if any(histogram.sum() != header.count for histogram in histograms):
        raise _corrupt(f"the counts of the bins of a dimension do not sum up to {header.count}")
    index = _decode(np.frombuffer(file, "<u4", header.words, words), histograms, header.count)
    latents = CompressedLatents(header.digest, header.step, scale.astype(np.float32), (index.T + first).astype(np.int32))
    if latents.to_bytes() != file:
        raise _corrupt("its words are not those that the header's counts give")
    return latents


def _corrupt(reason: str) -> Undecodable:
    return Undecodable(f"the file of compressed latents is corrupt: {reason}; {SEND}")


def _varints(numbers: NDArray[np.int64]) -> bytes:
    """Write numbers as LEB128: 7 bits a byte, the lowest first; the high bit of a byte says that more follow."""
    digits = numbers[:, None] >> BITS
    more = digits[:, 1:] > 0
    file = digits & 0x7F
    file[:, :-1] |= more * 0x80
    written = np.column_stack([np.ones(len(numbers), bool), more])
    return bytes(file[written].astype(np.uint8))


def _numbers(file: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Read LEB128 numbers below 2^35, as many as there are. Raises Undecodable."""
    ends = np.flatnonzero(file < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if not len(ends) or ends[-1] != len(file) - 1 or (ends - starts).max() >= len(BITS):
        raise _corrupt("the counts of its bins are no LEB128 numbers")
    place = np.arange(len(file)) - np.repeat(starts, ends - starts + 1)  # of each byte in its number
    return np.asarray(np.add.reduceat((file & 0x7F).astype(np.int64) << 7 * place, starts))


# constriction is imported when it is needed: importing it takes longer than most requests.


def _encode(symbols: NDArray[Any], histograms: list[NDArray[np.int64]]) -> NDArray[np.uint32]:
    """Return the words of a range coder for symbols (D, N), one dimension after the other. One bin needs no words."""
    from constriction import stream

    coder = stream.queue.RangeEncoder()
    for row, histogram in zip(symbols, histograms, strict=True):
        if len(histogram) > 1:
            coder.encode(np.ascontiguousarray(row, np.int32), _model(histogram))
    return np.asarray(coder.get_compressed(), "<u4")


def _decode(words: NDArray[np.uint32], histograms: list[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """Return the symbols (D, N) that `_encode` got; any others if the words are not its own. Raises Undecodable."""
    from constriction import stream

    decoder = stream.queue.RangeDecoder(np.ascontiguousarray(words, np.uint32))
    symbols = np.zeros((len(histograms), count), np.int64)
    for row, histogram in zip(symbols, histograms, strict=True):
        if len(histogram) > 1:
            try:
                row[:] = decoder.decode(_model(histogram), count)
            except Exception as error:  # constriction raises AssertionError and others
                raise _corrupt(f"its words cannot be decoded: {error}") from None
    return symbols


def _model(histogram: NDArray[np.int64]) -> Any:
    """Return the distribution of a dimension. constriction turns whole numbers into fixed point, the same on all machines."""
    from constriction import stream

    return stream.model.Categorical(histogram.astype(np.float64), perfect=False)
