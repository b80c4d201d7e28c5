"""Files with the values of settings, such as mounted secrets. Knows nothing of what the settings mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.files.regular_file import read_regular

# The largest size of a file of API keys, in bytes: about ten thousand keys.
MAX_KEYS_BYTES = 1 << 20
# Settings that may come from files of one line each, and the largest size of such a file in bytes.
IN_FILES = ("store", "store_reads")
MAX_LINE_BYTES = 1 << 13


def text_of(path: Path, limit: int) -> str:
    """Return the text of a file. Raises ValueError with the reason."""
    try:
        return read_regular(path, limit).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError((error.strerror or str(error)) if isinstance(error, OSError) else "not UTF-8") from None


def values_of_files(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings whose values are in files, by the settings that name the files. Raises ValueError."""
    found = {name: path for name in IN_FILES if (path := values.get(f"{name}_file"))}
    return {name: _line_of(f"{name}_file", Path(path)) for name, path in found.items()}


def _line_of(name: str, path: Path) -> str:
    """Return the only line of a file. Raises ValueError, which names the setting and never the content."""
    try:
        lines = text_of(path, MAX_LINE_BYTES).split("\n")
    except ValueError as error:
        raise ValueError(f"{name}: cannot read {path}: {error}") from None
    found = [line.strip() for line in lines if line.strip()]
    if len(found) != 1:
        raise ValueError(f"{name}: {path} must have one line with the address and nothing else; it has {len(found)} lines")
    return found[0]
