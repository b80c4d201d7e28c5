"""How much may be under way to the store at once, and when to come back when it is more.

Knows nothing of stores: rows come, take their time, and go.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from service.engine.errors import Overloaded


class Admission:
    """A bound on the rows of all requests of one kind that are under way. For one thread."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.rows = 0
        self._since = 0.0  # when the last ones were done, or the first ones came
        self._done, self._seconds = 0, 0.0  # rows that went lately, and how long that took

    @contextmanager
    def admit(self, rows: int) -> Iterator[None]:
        """Count rows as long as the block runs; one request is always let in, whatever its size. Raises Overloaded."""
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
        """Rows are done; what was long ago counts less and less."""
        now = time.monotonic()
        self._done, self._seconds = self._done + rows, self._seconds + now - self._since
        self._since = now
        if self._done > self.max_rows:
            self._done, self._seconds = self._done // 2, self._seconds / 2
