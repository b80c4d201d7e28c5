"""Find the files of a folder by the ends of their names, nested to any depth, and count the others."""

import os
from collections.abc import Sequence
from pathlib import Path

from models.files.regular_file import read_regular
from models.readers.download import DataError
from models.readers.left_out import LeftOut
from models.readers.path_names import shown
from models.readers.scan import HIDDEN, is_hidden


def named_files(root: Path, suffixes: Sequence[str] | None, left_out: LeftOut) -> list[Path]:
    """Return the files whose names end so (None: all but hidden ones), sorted. Raises DataError if there are none.

    Links to folders are not followed.
    """
    found = []
    for folder, folders, names in os.walk(root):
        for name in [name for name in folders if is_hidden(name)]:
            folders.remove(name)
            left_out.add(HIDDEN, name + "/")
        for name in names:
            path = Path(folder, name)
            if is_hidden(name):
                left_out.add(HIDDEN, name)
            elif suffixes is None or path.suffix.lower() in suffixes:
                found.append(path)
            else:
                left_out.suffixes[shown(path.suffix.lower()) or "without a suffix"] += 1
    if not found:
        there = "; ".join(left_out.lines()) or "it is empty"
        wanted = "files" if suffixes is None else f"files named *{' or *'.join(suffixes)}"
        raise DataError(f"{shown(root)}: contains no {wanted}; {there}")
    return sorted(found)


def content_of(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file. Raises DataError."""
    try:
        return read_regular(path, most_bytes)
    except OSError as error:
        raise DataError(f"{shown(path)}: {error.strerror}") from None
