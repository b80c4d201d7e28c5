"""Text from files and requests, made safe for an error message, a log line or a header. Knows nothing of its origin."""

from reprlib import Repr

LONGEST = 80
# Characters of a line of the log, and lines of a traceback, from texts that may be a caller's.
LONGEST_LINE, MOST_LINES = 4096, 200
_REPR = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = LONGEST


def short(value: object) -> str:
    """Return the `repr` of a caller's value, shortened for an error message. Only the beginning of a large value is read."""
    return repr(value[:LONGEST]) if isinstance(value, str) else _REPR.repr(value)


def bounded(text: str) -> str:
    """Return a text without its middle if it is longer than a line of the log may be."""
    more, half = len(text) - LONGEST_LINE, LONGEST_LINE // 2
    return text if more <= 0 else f"{text[:half]}... {more} characters left out ...{text[-half:]}"


def bounded_lines(text: str) -> str:
    """Return a traceback without the middle of long lines, and without lines in the middle if there are many."""
    lines = text.split("\n")
    more, half = len(lines) - MOST_LINES, MOST_LINES // 2
    if more > 0:
        lines = [*lines[:half], f"... {more} lines left out ...", *lines[-half:]]
    return "\n".join(map(bounded, lines))


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
