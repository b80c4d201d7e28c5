"""Text from files and requests, made safe for an error message, a log line or a header. Knows nothing of its origin."""

from reprlib import Repr

LONGEST = 80
_REPR = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = LONGEST


def short(value: object) -> str:
    """Return the `repr` of a caller's value, shortened for an error message. Only the beginning of a large value is read."""
    return repr(value[:LONGEST]) if isinstance(value, str) else _REPR.repr(value)


def one_line(text: str) -> str:
    """Return the text with control characters, line ends and lone surrogates as Python escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def header_value(text: str) -> str:
    """Return the text for a header: visible ASCII and spaces, with a question mark for every other character."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in text)
