"""Bounds on what callers make the service hold, and what is said to those who pass them. Knows nothing of HTTP's messages.

Bodies of requests and of answers count while they are in memory. One that does not fit is refused, it does not wait: two
that waited for each other's end would wait for ever, and while one waits its sender holds on to what has come.
"""

from collections import Counter


class MemoryFull(Exception):
    """No room for this body beside those in flight."""

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


class Malformed(Exception):
    """Bytes that are not HTTP, or a request that HTTP does not allow."""

    def __init__(self, reason: str = "this is not a well-formed request of HTTP/1.1") -> None:
        super().__init__(reason)


class UnknownHost(Exception):
    """A request for a name that is not known to be this service's."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"this service is not known as {name!r}; if it should be, add the name to VAE_ALLOWED_HOSTS, "
            f"otherwise call it by its address or as localhost"
        )


class HeadTooLarge(Exception):
    """A request line and headers of too many bytes, or too many headers."""

    def __init__(self, max_bytes: int, max_headers: int) -> None:
        super().__init__(
            f"the request line and headers have more than {max_bytes} bytes (VAE_MAX_HEADER_BYTES) or more than "
            f"{max_headers} headers (VAE_MAX_HEADERS)"
        )


class TrailersTooLarge(Exception):
    """More trailer fields after a chunked body than are read to their end."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"the trailers after the chunked body have more than {max_bytes} bytes; trailers are ignored here, leave them out"
        )


class TooSlow(Exception):
    """A request that does not come to its end."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(
            f"the head of the request was not complete after {seconds:g} s (VAE_HEADER_SECONDS)"
            if what == "head"
            else f"the body of the request came too slowly for {seconds:g} s (VAE_SLOW_SECONDS, VAE_MIN_BYTES_PER_SECOND)"
        )


class TooManyConnections(Exception):
    """As many as are kept are open."""

    def __init__(self, allowed: int) -> None:
        super().__init__(f"all {allowed} connections that are allowed (VAE_MAX_CONNECTIONS) are open; come back in a moment")


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


class Share:
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
