"""The trailer fields of a chunked body, which nobody reads."""

from service.server.faults import TrailersTooLarge

MAX_TRAILER_BYTES = 1 << 13


class Trailers:
    """Takes the place of a request's headers once they are complete: it counts the trailer fields and drops them.

    RFC 9110, section 6.5.1: they are not merged into the headers, where some of them would mean something.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def append(self, field: tuple[bytes, bytes]) -> None:
        """Count a field. Raises TrailersTooLarge."""
        self.size += len(field[0]) + len(field[1]) + len(": \r\n")
        if self.size > MAX_TRAILER_BYTES:
            raise TrailersTooLarge(MAX_TRAILER_BYTES)
