"""Opening files that other people name or put into a directory: only regular ones, and only as much as is expected.

A named pipe without a writer blocks for ever when it is opened, and a device such as /dev/zero has no end. Knows nothing of
what is in the files.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

# names of what is not a regular file, as an error message has them
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


class NotRegular(OSError):
    """A path that leads to a pipe, a socket, a device or a directory."""


class TooLarge(OSError):
    """A file that has more bytes than such a file may have."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading. Never waits for a writer. Raises NotRegular, OSError."""
    _check(path, os.stat(path))  # before opening: a writer that waits at a pipe would notice that it was opened
    # O_NONBLOCK, and a second look: the path may lead to something else by now
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _check(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """All bytes of a regular file. Raises NotRegular, TooLarge when there are more than `limit`, OSError."""
    with open_regular(path) as file:
        if limit is None:
            return file.read()
        content = file.read(limit + 1)
    if len(content) > limit:
        raise TooLarge(errno.EFBIG, f"has more than the {limit} bytes that such a file may have", str(path))
    return content


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "not a regular file")
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise NotRegular(number, f"is {kind}; only regular files are read", str(path))
