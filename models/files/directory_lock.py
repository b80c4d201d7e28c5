"""One process at a time writes into a checkpoint's directory: a lock that the system releases when its holder dies.

Where there are no such locks (Windows, some network file systems) it does without. Knows nothing of what is written.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover  on Windows
    fcntl = None  # type: ignore[assignment]

from models.files.atomic_file import make_directory

LOCK = ".lock"


class DirectoryInUse(Exception):
    """A directory that another process writes into; the message says which process."""


@contextmanager
def locked(directory: Path, purpose: str, make: bool = False) -> Iterator[None]:
    """Hold the directory, of which the holder's `purpose` is told to others. Raises DirectoryInUse, OSError.

    `make`: the directory is made when it is missing, and removed again if nothing was put into it. Without it nothing is
    locked where there is nothing.
    """
    made = make and not directory.exists()
    if made:
        make_directory(directory)
    if fcntl is None or not directory.is_dir():
        yield
        return
    try:
        descriptor = _hold(directory, purpose)
        try:
            yield
        finally:
            with suppress(OSError):
                (directory / LOCK).unlink()  # before others may have it: who opened this file sees that it is gone
            os.close(descriptor)
    finally:
        if made:
            with suppress(OSError):  # it is not empty
                directory.rmdir()


def _hold(directory: Path, purpose: str) -> int:
    """An open descriptor of the lock file, held until it is closed."""
    path = directory / LOCK
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        descriptor = os.open(path, flags, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DirectoryInUse(f"{path} is not a regular file: remove it")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DirectoryInUse(_told(directory, os.pread(descriptor, 200, 0))) from None
            except OSError:  # a file system without locks
                return descriptor
            if _is_at(descriptor, path):
                with suppress(OSError):  # of a full disk: the lock holds, others only do not learn who has it
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()} {purpose}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the holder before us has ended between our opening and our locking


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _told(directory: Path, content: bytes) -> str:
    pid, _, purpose = content.decode("utf-8", "replace").strip().partition(" ")
    holder = f"process {pid} ({purpose})" if pid.isdecimal() else "another process"
    return f"{holder} is writing into {directory}: wait until it has ended, or choose another directory"
