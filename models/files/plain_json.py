"""Reading JSON that somebody else may have written, so that what comes out can be written again.

Knows nothing of what the values mean.
"""

import json
import math
from typing import Any

# objects and lists inside each other
MAX_DEPTH = 32


def parse_json(content: bytes, lenient: bool = False) -> Any:
    """The value of a JSON text; NaN and infinities become None. Raises ValueError for what is not JSON.

    What JSON can spell but nobody can write again is refused too, or with `lenient` replaced as in `plain`: half of a
    surrogate pair, a number too large for a float, nesting of more than 32 levels (beyond some hundreds it is always refused).
    """
    try:
        value = json.loads(content, parse_constant=lambda _: None)
    except RecursionError:
        raise _too_deep() from None
    return _plain(value, 0, not lenient)


def plain(value: Any) -> Any:
    """The value as one that JSON and UTF-8 can hold.

    NaN and infinities become None, as does what is nested too deep; half of a surrogate pair becomes U+FFFD.
    """
    return _plain(value, 0, False)


def _plain(value: Any, depth: int, strict: bool) -> Any:
    if isinstance(value, str):
        return _text(value, strict)
    if isinstance(value, float):
        if strict and not math.isfinite(value):
            raise ValueError("a number is too large")
        return value if math.isfinite(value) else None
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth == MAX_DEPTH:
        if strict:
            raise _too_deep()
        return None
    if isinstance(value, dict):
        return {_text(str(key), strict): _plain(one, depth + 1, strict) for key, one in value.items()}
    return [_plain(one, depth + 1, strict) for one in value]


def _text(text: str, strict: bool) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        if strict:
            raise ValueError(f"{text[:40]!a} has half of a surrogate pair, which is not text") from None
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
