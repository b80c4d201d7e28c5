"""Reading JSON that somebody else may have written, so that what comes out can be written again.

Knows nothing of what the values mean.
"""

import json
import math
from typing import Any

MAX_DEPTH = 32


def parse_json(content: bytes) -> Any:
    """The value of a JSON text; NaN and infinities become None. Raises ValueError for everything that JSON cannot hold.

    That is also: half of a surrogate pair, and a number too large for a float. Deeper nesting than 32 levels is refused too.
    """
    try:
        value = json.loads(content, parse_constant=lambda _: None)
    except RecursionError:
        raise _too_deep() from None
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for found in level:
            _check(found)
            if isinstance(found, dict):
                for key in found:
                    _check(key)
                inner.extend(found.values())
            elif isinstance(found, list):
                inner.extend(found)
        level = inner
        if not level:
            return value
    raise _too_deep()


def _check(value: object) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{value[:40]!a} has half of a surrogate pair, which is not text") from None
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
