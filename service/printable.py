"""Text and values out of files and requests, made fit for an answer or a log: nothing that cannot be written as JSON or UTF-8.

Knows nothing of where they come from or go.
"""

import math
from typing import Any

# whatever a card or a configuration holds deeper than this is left out
MAX_DEPTH = 100


def one_line(text: str) -> str:
    """The text with control characters, ends of lines and halves of surrogate pairs as their escapes in Python."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def json_value(value: Any, depth: int = 0) -> Any:
    """A value that came out of a JSON file as one that can be answered: NaN and infinities become null, as what lies too deep.

    Halves of surrogate pairs, which JSON can spell and UTF-8 cannot, become replacement characters.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list | tuple) and depth == MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {json_value(str(key)): json_value(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(one, depth + 1) for one in value]
    return value


def header_value(text: str) -> str:
    """The text as a header may have it: visible ASCII and spaces, and question marks for all else."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in text)
