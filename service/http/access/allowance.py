"""What one caller may ask for: so many requests a second, after a burst, and so many at a time. Knows nothing of keys."""

import math
import time
from collections.abc import Callable

from service.http.problems import HttpError


class RateExceeded(HttpError):
    """Too many requests a second; `retry_after` is the whole seconds until the next is allowed."""

    status, code = 429, "rate_exceeded"

    def __init__(self, name: str, rate: float, seconds: float) -> None:
        super().__init__(f"{name!r} may ask {rate:g} times a second")
        self.retry_after = max(1, math.ceil(seconds))


class ConcurrencyExceeded(HttpError):
    """Too many requests at a time."""

    status, code = 429, "concurrency_exceeded"

    def __init__(self, name: str, concurrency: int) -> None:
        super().__init__(f"{name!r} may have {concurrency} requests in flight, and has")
        self.retry_after = 1


class Allowance:
    """A token bucket and a count, of one caller; 0 is no limit. `enter` and `leave` enclose each request."""

    def __init__(
        self, name: str, rate: float, burst: int, concurrency: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`rate`: requests a second; `burst`: tokens that the bucket holds, 0 for those of one second."""
        self.name, self.rate, self.concurrency = name, rate, concurrency
        self.size = float(burst) or max(1.0, rate)
        self.in_flight = 0
        self._clock, self._tokens, self._counted = clock, self.size, clock()

    def enter(self) -> None:
        """Begin a request. Raises RateExceeded, ConcurrencyExceeded; what is refused takes no token."""
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
        """End a request that began."""
        self.in_flight -= 1
