"""Open files that other people provide: only regular files, and only up to a size limit.

Opening a named pipe without a writer blocks forever, and a device such as /dev/zero has no end. Knows nothing of
what is in the files.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)

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
        _check(path, os.fstat(descriptor))  # once more, because the path may lead to something else by now
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path | str, limit: int | None = None) -> bytes:
    """Return all bytes of a regular file. Raises NotRegular, TooLarge if there are more than `limit`, OSError."""
    descriptor, size = _opened(path)
    try:
        if limit is not None and size > limit:
            raise _too_large(path, limit)
        # A small file takes longer to be made a file object than to be read.
        content = os.read(descriptor, size + 1)
        if len(content) != size:  # It is changing, or huge, or does not say how large it is, such as those in /proc.
            _check(path, os.fstat(descriptor))  # Or the path leads to something else by now, perhaps without an end.
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content += file.read() if limit is None else file.read(limit + 1 - len(content))
    finally:
        os.close(descriptor)
    if limit is not None and len(content) > limit:
        raise _too_large(path, limit)
    return content


def _too_large(path: Path | str, limit: int) -> TooLarge:
    return TooLarge(errno.EFBIG, f"has more than the {limit} bytes allowed", str(path))


def _opened(path: Path | str) -> tuple[int, int]:
    """Return a descriptor of what was a regular file a moment before, and the size of that. Reading it never blocks."""
    found = os.stat(path)
    _check(path, found)  # Checked first, because opening a pipe would wake up its waiting writer.
    return os.open(path, FLAGS), found.st_size


def _check(path: Path | str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "not a regular file")
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise NotRegular(number, f"is {kind}; only regular files are read", str(path))
