"""Admission of requests to one model by the pixels of their pictures, and an estimate of when to try again.

Knows nothing of lanes, requests or HTTP.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.engine.errors import Overloaded
from service.inference.kinds.size_limits import SizeLimits


class WaitingPixels:
    """The pixels of the pictures that are being computed, or wait for it. Not safe for several threads."""

    def __init__(self, limits: SizeLimits, own: int, seconds_per_pixel: float) -> None:
        """`own`: the pixels of a picture of the model's own size. `seconds_per_pixel`: used until a request is done."""
        self.pixels = 0
        self._limits, self._small = limits, max(own, limits.small)
        self._at_first = seconds_per_pixel
        self._since = 0.0  # when the last request was done, or the first one came
        self._done, self._seconds = 0, 0.0  # pixels that were computed lately, and the seconds that took

    @contextmanager
    def admission(self) -> Iterator[Callable[[int], None]]:
        """Count the pixels of a request, also while its pictures are decoded, until it ends. Yields what admits pixels.

        That raises Overloaded; a request that is alone is always admitted.
        """
        own = 0

        def admit(pixels: int) -> None:
            nonlocal own
            others = self.pixels - own
            if others and not self._has_room(others, own + pixels):
                raise Overloaded(self._seconds_left(), f"pictures with {self.pixels} pixels are waiting; they should be done")
            if not self.pixels:
                self._since = time.monotonic()
            self.pixels, own = self.pixels + pixels, own + pixels

        try:
            yield admit
            self._count(own)
        finally:
            self.pixels -= own

    def _has_room(self, others: int, pixels: int) -> bool:
        """Return whether a request of so many pixels may wait beside others.

        A large one takes at most half of what is free, so that few of them do not take all. Small ones have a reserve besides.
        """
        free = self._limits.waiting - others
        return pixels <= free + self._limits.reserve if pixels <= self._small else pixels <= free // 2

    def _seconds_left(self) -> float:
        if self._done:
            return self.pixels * self._seconds / self._done
        return max(self.pixels * self._at_first, time.monotonic() - self._since)

    def _count(self, pixels: int) -> None:
        """Count pixels that were computed; older ones count less and less."""
        now = time.monotonic()
        self._done, self._seconds, self._since = self._done + pixels, self._seconds + now - self._since, now
        if self._done > self._limits.waiting:
            self._done, self._seconds = self._done // 2, self._seconds / 2
