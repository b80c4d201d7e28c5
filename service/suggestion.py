"""What somebody probably meant by a name that does not exist, for error messages."""

import difflib
from collections.abc import Iterable

# Longer names are compared by their beginning, since the time grows with the square of the length.
COMPARED = 100
SIMILAR = 0.6


def similar(name: str, known: Iterable[str], least: float = SIMILAR) -> str | None:
    """Return the known name that is most similar to another one, None if none is. `least`: how similar, from 0 to 1."""
    return next(iter(difflib.get_close_matches(name[:COMPARED], list(known), n=1, cutoff=least)), None)


def suggestion(name: str, known: Iterable[str], otherwise: str = "", least: float = SIMILAR) -> str:
    """Return "did you mean ...?" with the most similar known name, or another text if none is similar."""
    near = similar(name, known, least)
    return otherwise if near is None else f"did you mean {near}?"
