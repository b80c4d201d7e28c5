"""Values -> JSON, with numbers and arrays of numpy in them. What JSON cannot carry is refused here, with its place."""

import json
import os
from collections.abc import Mapping
from typing import Any

DEEPEST = 64  # A structure that contains itself has no end.


def encoded(value: Any, place: str = "body") -> bytes:
    """Return a value as JSON. Raises ValueError for NaN, infinity and lone surrogates, TypeError for other types."""
    try:
        return _encoded(value)
    except (TypeError, ValueError) as error:
        place, fault = _fault(value, place)
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{place} is {fault!r:.80}, which JSON cannot carry ({error})") from None


def _encoded(value: Any) -> bytes:
    # Without ensure_ascii, encode refuses lone surrogates.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    """Return a number or an array of numpy, or of a library like it, as a number or lists, and a path as text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "__array__") and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a type of JSON")


def _fault(value: Any, place: str) -> tuple[str, Any]:
    """Return the place of the first value that cannot be encoded, and the value."""
    for _ in range(DEEPEST):
        value = _plain(value) if hasattr(value, "tolist") else value
        inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
        for key, one in inner:
            try:
                _encoded(one)
            except (TypeError, ValueError):
                place, value = f"{place}[{key!r}]", one
                break
        else:
            break
    return place, value
