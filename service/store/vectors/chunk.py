"""A chunk of rows in memory: Gaussians with their numbers, and the norms that bounds on distances need.

Knows nothing of searches.
"""

import mmap
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]

# Rows of a full chunk: megabytes, so that it gets huge pages, without which a scan takes three times as long.
CHUNK = 1 << 17
SMALLEST = 256
HUGE_BYTES = 1 << 21
UNIT_ROUNDOFF = 2.0**-24
# Of a shorter mean, products may underflow float32, and 1 / |mu| may overflow it.
SHORT = 2.0**-80
# Bytes that a row takes beside its mu and sigma.
OVERHEAD_BYTES = 4 * 3 + 8 + 3
COLUMNS = ("mu", "sigma", "half_mu", "half_sigma", "inverse", "numbers", "alive", "has_sigma", "short")


def row_bytes(dim: int) -> int:
    """Return the bytes of memory that one Gaussian of `dim` dimensions takes."""
    return 2 * 4 * dim + OVERHEAD_BYTES


def slack(dim: int) -> float:
    """Return a bound on the rounding error of the float32 inner product of two [mu, w sigma] of 2 x `dim` numbers.

    It is relative to the lengths (Higham 2002, section 3.1). Part of it is for the roundings of w and of the half norms.
    """
    return (2 * dim + 10) * UNIT_ROUNDOFF


def _zeros(rows: int, dim: int) -> Floats:
    """Allocate memory for vectors, in huge pages if the system has them: the speed of a scan is that of the memory."""
    size = 4 * rows * dim
    if size < HUGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros((rows, dim), np.float32)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # the kernel has no huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(rows, dim)


class Chunk:
    """Up to CHUNK rows. Removed rows have an infinite half_mu, so they are never candidates."""

    def __init__(self, dim: int, room: int) -> None:
        self.dim, self.room = dim, room
        self.size = self.gone = 0
        self.any_short = False  # some row has, or had, a short mean
        self.longest = 0.0  # no row has, or had, a larger |mu|^2 + |sigma|^2
        self.mu, self.sigma = _zeros(room, dim), _zeros(room, dim)
        self.half_mu: Floats = np.empty(room, np.float32)  # |mu|^2 / 2, less its slack
        self.half_sigma: Floats = np.empty(room, np.float32)  # |sigma|^2 / 2, less its slack
        self.inverse: Floats = np.empty(room, np.float32)  # 1 / |mu|, 0 for a mean that is short or has length 0
        self.numbers: Numbers = np.empty(room, np.int64)
        self.alive: Mask = np.zeros(room, np.bool_)
        self.has_sigma: Mask = np.zeros(room, np.bool_)
        self.short: Mask = np.zeros(room, np.bool_)  # |mu| is not 0, but below SHORT

    def halves(self, rows: slice | Numbers, sigma_weight: float) -> Floats:
        """Return |[mu, w sigma]|^2 / 2 of some rows, less its slack: of w = 0, that of mu alone."""
        if not sigma_weight:
            return self.half_mu[rows]
        halves: Floats = self.half_mu[rows] + np.float32(sigma_weight**2) * self.half_sigma[rows]
        return halves

    def grow(self) -> None:
        """Double the room, to at most CHUNK rows."""
        self.room = min(2 * self.room, CHUNK)
        for name in COLUMNS:
            old = getattr(self, name)
            new = np.zeros(self.room, old.dtype) if old.ndim == 1 else _zeros(self.room, self.dim)
            new[: self.size] = old[: self.size]
            setattr(self, name, new)

    def put(self, rows: Numbers, mu: Floats, sigma: Floats, has_sigma: Mask) -> None:
        self.mu[rows], self.sigma[rows], self.has_sigma[rows] = mu, sigma, has_sigma
        squares, spread = (np.square(vectors, dtype=np.float64).sum(axis=1) for vectors in (mu, sigma))
        self.longest = max(self.longest, float((squares + spread).max(initial=0)))
        lengths = np.sqrt(squares)
        self.short[rows] = short = (lengths > 0) & (lengths < SHORT)
        self.any_short |= bool(short.any())
        with np.errstate(over="ignore"):  # if a square overflows float32, `longest` disables the bounds
            self.half_mu[rows] = squares / 2 * (1 - slack(self.dim))
            self.half_sigma[rows] = spread / 2 * (1 - slack(self.dim))
            self.inverse[rows] = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths >= SHORT)
        self.gone -= int((~self.alive[rows]).sum())
        self.alive[rows] = True

    def remove(self, rows: Numbers) -> None:
        self.gone += int(self.alive[rows].sum())
        self.alive[rows] = self.has_sigma[rows] = False
        self.half_mu[rows] = np.inf

    def append(self, numbers: Numbers, mu: Floats, sigma: Floats, has_sigma: Mask) -> None:
        """Add rows at the end, which must have room. Their numbers are ascending and greater than those in the chunk."""
        added = np.arange(self.size, self.size + len(numbers))
        self.numbers[added] = numbers
        self.gone += len(numbers)  # `put` subtracts them again
        self.put(added, mu, sigma, has_sigma)
        self.size += len(numbers)

    def joined(self, numbers: Numbers, mu: Floats, sigma: Floats, has_sigma: Mask) -> "list[Chunk]":
        """Return new chunks with the remaining rows of this one and the given rows, sorted by number. Numbers are distinct."""
        left = np.flatnonzero(self.alive[: self.size])
        numbers = np.concatenate([self.numbers[left], numbers])
        order = np.argsort(numbers)
        numbers = numbers[order]
        mu, sigma = np.concatenate([self.mu[left], mu])[order], np.concatenate([self.sigma[left], sigma])[order]
        has_sigma = np.concatenate([self.has_sigma[left], has_sigma])[order]
        parts = -(-len(numbers) // CHUNK)
        chunks = []
        for i in range(parts):
            part = slice(i * len(numbers) // parts, (i + 1) * len(numbers) // parts)
            chunk = Chunk(self.dim, min(max(SMALLEST, part.stop - part.start), CHUNK))
            chunk.append(numbers[part], mu[part], sigma[part], has_sigma[part])
            chunks.append(chunk)
        return chunks
