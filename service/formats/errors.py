"""Errors about the bytes of a request; each names the item at fault.

BadInput                  the body cannot be used; `item` says which picture or latent is at fault
  ├── Undecodable         truncated, corrupt, not JSON, not base64
  ├── Unsupported         the format is not known
  ├── TooBig              more pixels than allowed
  ├── TooCostly           decoding takes more memory, time or work than allowed
  └── Unusable            decoded, but with the wrong shape, range or type
"""

from collections.abc import Iterator
from contextlib import contextmanager


class BadInput(Exception):
    """The body of a request cannot be used. `word`: what the message calls the item."""

    def __init__(self, reason: str, item: int | None = None, word: str = "item") -> None:
        super().__init__(reason)
        self.reason, self.item, self.word = reason, item, word

    def __str__(self) -> str:
        return self.reason if self.item is None else f"{self.word} {self.item}: {self.reason}"


class Undecodable(BadInput):
    """The input is truncated or corrupt, so that it cannot be decoded."""


class Unsupported(BadInput):
    """The format is not known, neither by its first bytes nor by its media type."""


class TooBig(BadInput):
    """The picture has more pixels than allowed."""


class TooCostly(BadInput):
    """Decoding takes more memory, time or work than allowed."""


class Unusable(BadInput):
    """The input was decoded, but does not fit the model."""


@contextmanager
def of_points() -> Iterator[None]:
    """Let errors call the item a point: the items of a request that takes points are those of a collection."""
    try:
        yield
    except BadInput as error:
        error.word = "point"
        raise


def first_bytes(data: bytes) -> str:
    """Return the first bytes of a file for a message, as text in quotes."""
    return repr(data[:8])[1:]


def describe(error: Exception) -> str:
    """Return the message of a decoder's exception, or its type if the message is empty."""
    return str(error) or type(error).__name__
