"""Drops the trailer fields of chunked bodies, and limits their size."""

from service.server.errors import TrailersTooLarge

MAX_TRAILER_BYTES = 1 << 13


class Trailers:
    """Replaces the list of a request's headers once they are complete, to count trailer fields and drop them.

    Trailer fields must not be merged into the headers, where some of them would have a meaning (RFC 9110, section 6.5.1).
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def append(self, field: tuple[bytes, bytes]) -> None:
        """Count the bytes of a field. Raise TrailersTooLarge."""
        self.size += len(field[0]) + len(field[1]) + len(": \r\n")
        if self.size > MAX_TRAILER_BYTES:
            raise TrailersTooLarge(MAX_TRAILER_BYTES)
