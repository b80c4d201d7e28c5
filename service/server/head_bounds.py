"""Limits on a request line and its headers, and their size. Knows nothing of connections."""

from dataclasses import dataclass

from service.asgi import Headers


@dataclass(frozen=True, slots=True)
class HeadBounds:
    """Limits on a request line and its headers together."""

    max_bytes: int
    max_headers: int


def head_bytes(target: bytes, headers: Headers) -> int:
    """Return the size of a head in bytes, as far as it has been parsed."""
    return len(target) + sum(len(name) + len(value) + len(": \r\n") for name, value in headers)
