"""Open files that other people provide: only regular files, and only up to a size limit.

Opening a named pipe without a writer blocks forever, and a device such as /dev/zero has no end. Knows nothing of
what is in the files.
"""

import errno
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
# A file that does not say how large it is, such as those in /proc, is read in parts of so many bytes.
PART = 1 << 16

# Words for error messages.
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


class NotRegular(OSError):
    """The path leads to a pipe, a socket, a device or a directory."""


class TooLarge(OSError):
    """The file has more bytes than allowed."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading, without ever blocking. Raises NotRegular, OSError."""
    descriptor, _ = _opened(path)
    try:
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path | str, limit: int | None = None) -> bytes:
    """Return all bytes of a regular file. Raises NotRegular, TooLarge if there are more than `limit`, OSError."""
    # Without a file object, which needs more system calls than a small file itself.
    descriptor, size = _opened(path)
    try:
        parts, left = [], sys.maxsize if limit is None else limit + 1
        step = size + 1 if size else PART  # The file may have grown: only an empty part is the end.
        while left and (part := os.read(descriptor, min(step, left))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if not left:
        raise TooLarge(errno.EFBIG, f"has more than the {limit} bytes allowed", str(path))
    return b"".join(parts)


def _opened(path: Path | str) -> tuple[int, int]:
    """Return a descriptor of a regular file, and the size of the file. Raises NotRegular, OSError."""
    _check(path, os.stat(path))  # Checked first, because opening a pipe would wake up its waiting writer.
    # O_NONBLOCK and a second check, because the path may lead to something else by now.
    descriptor = os.open(path, FLAGS)
    try:
        found = os.fstat(descriptor)
        _check(path, found)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, found.st_size


def _check(path: Path | str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "not a regular file")
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise NotRegular(number, f"is {kind}; only regular files are read", str(path))
