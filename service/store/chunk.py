"""A chunk of rows in memory: Gaussians by number, with the norms that bounds on distances need.

Knows nothing of searches.
"""

import mmap
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]

# rows of a chunk: megabytes, so that the system gives it huge pages, without which a scan takes three times as long
CHUNK = 1 << 17
SMALLEST = 256
HUGE_BYTES = 1 << 21
UNIT_ROUNDOFF = 2.0**-24
# bytes that a row takes beside its mu and sigma
OVERHEAD_BYTES = 4 * 3 + 8 + 2


def row_bytes(dim: int) -> int:
    """Memory that one Gaussian of `dim` dimensions takes."""
    return 2 * 4 * dim + OVERHEAD_BYTES


def slack(dim: int) -> float:
    """Bound on the rounding error of a float32 inner product, relative to the lengths: Higham 2002, section 3.1."""
    return (dim + 8) * UNIT_ROUNDOFF


def _zeros(rows: int, dim: int) -> Floats:
    """Memory for vectors, in huge pages where the system has them: a scan is limited by how it is reached."""
    size = 4 * rows * dim
    if size < HUGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros((rows, dim), np.float32)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(rows, dim)


@dataclass(slots=True)
class Chunk:
    """Up to CHUNK rows. Those that are gone have an infinite norm, so that no bound finds them."""

    dim: int
    room: int
    size: int = 0
    gone: int = 0
    mu: Floats = field(init=False)
    sigma: Floats = field(init=False)
    half_mu: Floats = field(init=False)  # |mu|^2 / 2, less its slack
    half_both: Floats = field(init=False)  # (|mu|^2 + |sigma|^2) / 2, less its slack
    inverse: Floats = field(init=False)  # 1 / |mu|, 0 for a mean of length 0
    numbers: Numbers = field(init=False)
    alive: Mask = field(init=False)
    has_sigma: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.mu, self.sigma = (_zeros(self.room, self.dim) for _ in range(2))
        self.half_mu, self.half_both, self.inverse = (np.empty(self.room, np.float32) for _ in range(3))
        self.numbers = np.empty(self.room, np.int64)
        self.alive, self.has_sigma = (np.zeros(self.room, np.bool_) for _ in range(2))

    def grow(self) -> None:
        """Twice the room."""
        self.room = min(2 * self.room, CHUNK)
        for name in ("mu", "sigma", "half_mu", "half_both", "inverse", "numbers", "alive", "has_sigma"):
            old = getattr(self, name)
            new = np.zeros(self.room, old.dtype) if old.ndim == 1 else _zeros(self.room, self.dim)
            new[: self.size] = old[: self.size]
            setattr(self, name, new)

    def put(self, rows: Numbers, mu: Floats, sigma: Floats, has_sigma: Mask) -> None:
        self.mu[rows], self.sigma[rows], self.has_sigma[rows] = mu, sigma, has_sigma
        squares = np.square(mu, dtype=np.float64).sum(axis=1)
        both = squares + np.square(sigma, dtype=np.float64).sum(axis=1)
        self.half_mu[rows] = squares / 2 * (1 - slack(self.dim))
        self.half_both[rows] = both / 2 * (1 - slack(2 * self.dim))
        lengths = np.sqrt(squares)
        self.inverse[rows] = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        self.gone -= int((~self.alive[rows]).sum())
        self.alive[rows] = True

    def remove(self, rows: Numbers) -> None:
        self.gone += int(self.alive[rows].sum())
        self.alive[rows] = self.has_sigma[rows] = False
        self.half_mu[rows] = self.half_both[rows] = np.inf
