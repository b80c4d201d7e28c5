"""Read untrusted JSON into values that can be written as JSON again.

Knows nothing of what the values mean.
"""

import json
import math
from typing import Any

# Deepest nesting of objects and lists.
MAX_DEPTH = 32


def parse_json(content: bytes, lenient: bool = False) -> Any:
    """Parse a JSON text; NaN and infinities become None. Raises ValueError if it is not JSON.

    Values that cannot be written again are refused too, or replaced as in `plain` if `lenient`: half of a surrogate pair,
    a number too large for a float, more than 32 nested levels (more than some hundreds are always refused).
    """
    try:
        value = json.loads(content, parse_constant=lambda _: None)
    except RecursionError:
        raise _too_deep() from None
    return _plain(value, 0, not lenient)


def plain(value: Any) -> Any:
    """Return the value with everything replaced that JSON or UTF-8 cannot hold.

    NaN, infinities and values nested too deep become None; half of a surrogate pair becomes U+FFFD.
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
