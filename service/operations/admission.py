"""Admission control for the store and for long work: a bound on the rows in flight, and an estimate of when to try again.

Knows nothing of stores.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.engine.errors import Overloaded

# Called with the part of the work that is done, from 0 to 1, whenever some more of it is.
Progress = Callable[[float], None]


class Admission:
    """A bound on the rows of all requests of one kind that are in flight. Not safe for several threads."""

    def __init__(self, max_rows: int, places: str = "") -> None:
        """`places`: what errors say is taken, if these rows do not wait in the queue."""
        self.max_rows = max_rows
        self.rows = 0
        self._left = 0.0  # the rows whose work is still to be done, parts of rows included
        self._full = (f"{places} are taken; they should be free",) if places else ()
        self._since = 0.0  # when the last work was done, or the first rows came
        self._done, self._seconds = 0.0, 0.0  # rows that were finished lately, and the seconds that took

    @contextmanager
    def admit(self, rows: int) -> Iterator[Progress]:
        """Count rows while the block runs. A request that is alone is admitted whatever its size. Raises Overloaded.

        Long work says how far it is: what is done does not count for the estimate.
        """
        now = time.monotonic()
        if self.rows and self.rows + rows > self.max_rows:
            raise Overloaded(self._left * self._seconds / self._done if self._done else now - self._since, *self._full)
        if not self.rows:
            self._since, self._left = now, 0.0
        self.rows += rows
        self._left += rows
        before = 0.0

        def progress(part: float) -> None:
            nonlocal before
            self._count((part - before) * rows)
            before = part

        try:
            yield progress
        finally:
            self.rows -= rows
            progress(1.0)

    def _count(self, rows: float) -> None:
        """Count rows that are finished; older ones count less and less."""
        now = time.monotonic()
        self._done, self._seconds = self._done + rows, self._seconds + now - self._since
        self._left -= rows
        self._since = now
        if self._done > self.max_rows:
            self._done, self._seconds = self._done / 2, self._seconds / 2
