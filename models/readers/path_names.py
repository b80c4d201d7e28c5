"""Names of files as text that can be printed, stored and sent. File systems allow any bytes; text must be valid UTF-8."""

import os
import re
from pathlib import Path

ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f])")


def shown(path: Path | str) -> str:
    r"""Return a path or other text as one line of valid text.

    Bytes that are not UTF-8, control characters and halves of surrogate pairs become escapes like \xe9.
    """
    text = os.fspath(path)
    return text if text.isprintable() else "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(one: str) -> str:
    if "\udc80" <= one <= "\udcff":  # Python's stand-in for a byte that is not UTF-8.
        return rf"\x{ord(one) - 0xDC00:02x}"
    return one.encode("unicode_escape").decode("ascii")


def storable(text: str) -> str:
    r"""Return text that JSON can hold: bytes that are not UTF-8 become escapes like \xe9, which `expanded` understands."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def expanded(text: str | Path) -> Path:
    r"""Return the path that a user means: `~` and `~user` are home directories, and \xe9 is a byte as `shown` writes it.

    A file that really has such a name comes first.
    """
    path = Path(text)
    try:
        if path.exists():
            return path
        bytes_too = Path(os.fsdecode(ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(path))))
        return bytes_too if bytes_too.exists() else path.expanduser()
    except (OSError, RuntimeError, ValueError):  # A name that is too long, no such user, or a null character.
        return path
