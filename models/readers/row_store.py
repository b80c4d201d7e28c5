"""Where a reader puts the rows that it prepares: into memory, or wherever the caller wants them. Knows nothing of pictures."""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.readers.memory import check_memory


class Rows(Protocol):
    """Rows of bytes that are added one after another, in the order of the source."""

    def add(self, rows: NDArray[np.uint8]) -> None:
        """Add rows, (n, ...)."""

    def all(self) -> NDArray[np.uint8]:
        """Return all rows, (N, ...), after the last one was added."""

    def extremes(self) -> tuple[int, int]:
        """Return the smallest and the largest value, after the last row was added."""


# (the most rows that will be added, the shape of a row, what they are in an error message) -> no rows yet
Store = Callable[[int, tuple[int, ...], str], Rows]


class MemoryRows:
    """Rows in one array, which is allocated once. The constructor raises DataError if the memory is too small."""

    def __init__(self, most: int, shape: tuple[int, ...], what: str) -> None:
        check_memory(most * math.prod(shape), what, ", or --pack FILE, which keeps the prepared pictures in a file")
        self._x = np.empty((most, *shape), np.uint8)
        self._count = 0

    def add(self, rows: NDArray[np.uint8]) -> None:
        """Add rows, (n, ...)."""
        self._x[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    def all(self) -> NDArray[np.uint8]:
        """Return the rows, a view of the array."""
        return self._x[: self._count]

    def extremes(self) -> tuple[int, int]:
        """Return the smallest and the largest value."""
        return int(self.all().min()), int(self.all().max())
