"""Limits of a request line and its headers."""

from dataclasses import dataclass

from service.asgi import Headers


@dataclass(frozen=True, slots=True)
class HeadBounds:
    """The most bytes and the most headers of a head."""

    max_bytes: int
    max_headers: int


def head_bytes(target: bytes, headers: Headers) -> int:
    """Return the bytes of a head, as far as it has been parsed."""
    return len(target) + sum(len(name) + len(value) + len(": \r\n") for name, value in headers)
