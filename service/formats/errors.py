"""What may be wrong with bytes that came in; each error names the item at fault.

BadInput                  a body that cannot be used; `item` says which picture or latent
  ├── Undecodable         not what it seems to be: truncated, corrupt, not JSON, not base64
  ├── Unsupported         neither its bytes nor its type are known
  ├── TooBig              more pixels than allowed
  ├── TooCostly           decoding it takes more memory, time or work than allowed
  └── Unusable            decoded, but of the wrong shape, range or kind
"""


class BadInput(Exception):
    """A body that cannot be used."""

    def __init__(self, reason: str, item: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.item = reason, item

    def __str__(self) -> str:
        return self.reason if self.item is None else f"item {self.item}: {self.reason}"


class Undecodable(BadInput):
    """Not what it seems to be."""


class Unsupported(BadInput):
    """Neither bytes nor type are known."""


class TooBig(BadInput):
    """More pixels than allowed."""


class TooCostly(BadInput):
    """Decoding it takes more memory, time or work than allowed."""


class Unusable(BadInput):
    """Decoded, but not what the model takes."""


def describe(error: Exception) -> str:
    """What a decoder's exception says; its type where it says nothing."""
    return str(error) or type(error).__name__
