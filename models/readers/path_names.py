"""Names of files as text that can be printed, stored and sent. File systems allow any bytes; text must be valid UTF-8."""

import os
from pathlib import Path


def shown(path: Path | str) -> str:
    r"""Return a path as one line of valid text; bytes that are not UTF-8, and control characters, become escapes like \xe9."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def expanded(text: str | Path) -> Path:
    """Return the path with `~` and `~user` replaced by the home directory; a file that is really called `~` stays."""
    path = Path(text)
    try:
        return path if path.exists() else path.expanduser()
    except (OSError, RuntimeError, ValueError):  # A name that is too long, no such user, or a null character.
        return path
