"""Bounds on what callers make the service hold, and what is said to those who pass them. Knows nothing of HTTP's messages.

Bodies of requests and of answers count while they are in memory. One that does not fit is refused, it does not wait: two
that waited for each other's end would wait for ever, and while one waits its sender holds on to what has come.
"""

from collections import Counter

from service.http.problems import HttpError


class MemoryFull(HttpError):
    """No room for this body beside those in flight."""

    status, code = 429, "memory"
    retry_after = 1

    def __init__(self) -> None:
        super().__init__(
            "the bodies of the requests in flight leave no room for this one (VAE_MAX_BODIES_BYTES); come back in a moment"
        )


# more bytes than any bound allows
HUGE = 1 << 62


def stated_length(value: str) -> int | None:
    """The bytes that a Content-Length header states, HUGE for more than that; None where it is missing or no number."""
    if not (value.isascii() and value.isdigit()):
        return None
    digits = value.lstrip("0")
    return int(digits or "0") if len(digits) < 19 else HUGE


# a body that is no larger does not count: the server holds as much of every connection before anybody asks for it
COUNTED_FROM = 1 << 16


class BodyMemory:
    """Bytes of all bodies in flight. `refused` counts those who found no room."""

    def __init__(self, max_bytes: int, refused: Counter[str]) -> None:
        self.max_bytes, self.used, self._refused = max_bytes, 0, refused

    def check(self, more: int) -> None:
        """Raises MemoryFull when so many more bytes have no room; whatever is alone has."""
        if self.used and self.used + more > self.max_bytes:
            self._refused["memory"] += 1
            raise MemoryFull


class BodyShare:
    """What one request holds of it."""

    __slots__ = ("_memory", "size")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory, self.size = memory, 0

    def check(self, size: int) -> None:
        """Raises MemoryFull when a body of this size, in all, has no room now."""
        if size > COUNTED_FROM:
            self._memory.check(size - self.size)

    def hold(self, size: int) -> None:
        """Hold so many bytes, in all. Raises MemoryFull."""
        if size > COUNTED_FROM:
            self._memory.check(size - self.size)
            self._memory.used += size - self.size
            self.size = size

    def release(self) -> None:
        """Hold nothing."""
        if self.size:
            self._memory.used -= self.size
            self.size = 0
