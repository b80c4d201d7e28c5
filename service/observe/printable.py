"""Text out of files and requests, made fit for an error message, a log or a header.

Knows nothing of where they come from or go.
"""

from reprlib import Repr

LONGEST = 80
_REPR = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = LONGEST


def short(value: object) -> str:
    """A caller's value as Python writes it, as far as an error message has room for; large ones are not looked through."""
    return repr(value[:LONGEST]) if isinstance(value, str) else _REPR.repr(value)


def one_line(text: str) -> str:
    """The text with control characters, ends of lines and halves of surrogate pairs as their escapes in Python."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def header_value(text: str) -> str:
    """The text as a header may have it: visible ASCII and spaces, and question marks for all else."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in text)
