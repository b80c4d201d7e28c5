"""Admission control for the store: a bound on the rows in flight, and an estimate of when to try again.

Knows nothing of stores.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from service.engine.errors import Overloaded


class Admission:
    """A bound on the rows of all requests of one kind that are in flight. Not safe for several threads."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.rows = 0
        self._since = 0.0  # when the last rows were finished, or the first ones came
        self._done, self._seconds = 0, 0.0  # rows that were finished lately, and the seconds that took

    @contextmanager
    def admit(self, rows: int) -> Iterator[None]:
        """Count rows while the block runs. A request that is alone is admitted whatever its size. Raises Overloaded."""
        now = time.monotonic()
        if self.rows and self.rows + rows > self.max_rows:
            raise Overloaded(self.rows * self._seconds / self._done if self._done else now - self._since)
        if not self.rows:
            self._since = now
        self.rows += rows
        try:
            yield
        finally:
            self.rows -= rows
            self._count(rows)

    def _count(self, rows: int) -> None:
        """Count rows that are finished; older ones count less and less."""
        now = time.monotonic()
        self._done, self._seconds = self._done + rows, self._seconds + now - self._since
        self._since = now
        if self._done > self.max_rows:
            self._done, self._seconds = self._done // 2, self._seconds / 2
