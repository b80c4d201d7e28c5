"""A limit on the memory of all request and response bodies together. Knows nothing about how they are read or sent.

A body counts while it is in memory. One that does not fit is refused at once. If it waited instead, two half-received bodies
could wait for each other forever.
"""

from collections import Counter

from service.http.problems import HttpError


class MemoryFull(HttpError):
    """The bodies in flight leave no room for this one."""

    status, code, retry_after = 429, "memory", 1
    detail = "the bodies of the requests in flight leave no room for this one (VAE_MAX_BODIES_BYTES); try again in a moment"


# More bytes than any limit allows.
HUGE = 1 << 62


def stated_length(value: str) -> int | None:
    """Return the value of a Content-Length header, at most HUGE, or None if it is missing or not a number."""
    if not (value.isascii() and value.isdigit()):
        return None
    digits = value.lstrip("0")
    return int(digits or "0") if len(digits) < 19 else HUGE


# Bodies up to this size do not count: the server buffers as much of every connection anyway.
COUNTED_FROM = 1 << 16


class BodyMemory:
    """Counts the bytes of all bodies in flight. `refused` counts the requests that found no room."""

    def __init__(self, max_bytes: int, refused: Counter[str]) -> None:
        self.max_bytes, self.used, self._refused = max_bytes, 0, refused

    def check(self, more: int) -> None:
        """Raise MemoryFull if so many more bytes have no room. A body that is alone always has room."""
        if self.used and self.used + more > self.max_bytes:
            self._refused["memory"] += 1
            raise MemoryFull


class BodyShare:
    """The part of the body memory that one request holds."""

    __slots__ = ("_memory", "size")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory, self.size = memory, 0

    def check(self, size: int) -> None:
        """Raise MemoryFull if a body of this total size has no room now."""
        if size > COUNTED_FROM:
            self._memory.check(size - self.size)

    def hold(self, size: int) -> None:
        """Set the number of bytes that this request holds. Raises MemoryFull."""
        if size > COUNTED_FROM:
            self._memory.check(size - self.size)
            self._memory.used += size - self.size
            self.size = size

    def release(self) -> None:
        """Give back all bytes."""
        if self.size:
            self._memory.used -= self.size
            self.size = 0
