"""The rate limit and the concurrency limit of one caller. Knows nothing about keys."""

import math
import time
from collections.abc import Callable

from service.http.problems import HttpError


class RateExceeded(HttpError):
    """The caller sends too many requests. `retry_after`: seconds until the next one is allowed, rounded up."""

    status, code = 429, "rate_exceeded"

    def __init__(self, name: str, rate: float, seconds: float) -> None:
        super().__init__(f"{name!r} exceeds the rate limit of {rate:g} requests per second")
        self.retry_after = max(1, math.ceil(seconds))


class ConcurrencyExceeded(HttpError):
    """The caller has too many requests in flight."""

    status, code = 429, "concurrency_exceeded"

    def __init__(self, name: str, concurrency: int) -> None:
        super().__init__(f"{name!r} already has {concurrency} requests in flight, which is the limit")
        self.retry_after = 1


class Allowance:
    """A token bucket and a count of requests in flight, for one caller. `enter` and `leave` enclose each request."""

    def __init__(
        self, name: str, rate: float, burst: int, concurrency: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`rate`: requests per second. `burst`: size of the bucket; 0: as many as `rate` allows in one second.

        `concurrency`: requests in flight. A `rate` or `concurrency` of 0 means no limit.
        """
        self.name, self.rate, self.concurrency = name, rate, concurrency
        self.size = float(burst) or max(1.0, rate)
        self.in_flight = 0
        self._clock, self._tokens, self._counted = clock, self.size, clock()

    @property
    def is_limited(self) -> bool:
        """Return whether `enter` may refuse a request."""
        return self.rate > 0 or self.concurrency > 0

    def enter(self) -> None:
        """Begin a request. Raises RateExceeded, ConcurrencyExceeded. A refused request takes no token."""
        if self.concurrency and self.in_flight >= self.concurrency:
            raise ConcurrencyExceeded(self.name, self.concurrency)
        if self.rate:
            now = self._clock()
            self._tokens = min(self.size, self._tokens + (now - self._counted) * self.rate)
            self._counted = now
            if self._tokens < 1:
                raise RateExceeded(self.name, self.rate, (1 - self._tokens) / self.rate)
            self._tokens -= 1
        self.in_flight += 1

    def leave(self) -> None:
        """End a request that `enter` has let in."""
        self.in_flight -= 1
