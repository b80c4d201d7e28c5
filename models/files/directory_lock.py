"""A lock for the directory of a checkpoint: one process writes at a time. The system releases it when the process dies.

Without file locks (Windows, some network file systems) nothing is locked. Knows nothing of what is written.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover  Windows has no fcntl.
    fcntl = None  # type: ignore[assignment]

from models.files.atomic_file import WriteError, make_directory

LOCK = ".lock"


class DirectoryInUse(Exception):
    """Another process is writing into the directory; the message says which one."""


@contextmanager
def locked(directory: Path, purpose: str, make: bool = False) -> Iterator[None]:
    """Lock the directory. Others who try get DirectoryInUse with our process id and `purpose`. Raises WriteError too.

    `make` creates a missing directory, and removes it afterwards if it is still empty. Without `make`, a missing directory is
    not locked.
    """
    made = make and not directory.exists()
    if made:
        try:
            make_directory(directory)
        except OSError as error:
            raise WriteError(error.errno, f"cannot create {directory}: {error.strerror}") from error
    if fcntl is None or not directory.is_dir():
        yield
        return
    try:
        descriptor = _hold(directory, purpose)
        try:
            yield
        finally:
            with suppress(OSError):
                (directory / LOCK).unlink()  # While still locked: `_is_at` tells those who wait that it is gone.
            os.close(descriptor)
    finally:
        if made:
            with suppress(OSError):  # The directory is not empty.
                directory.rmdir()


def _hold(directory: Path, purpose: str) -> int:
    """Return a descriptor of the locked lock file; closing it releases the lock."""
    path = directory / LOCK
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        try:
            descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise WriteError(error.errno, f"cannot write {path}: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DirectoryInUse(f"{path} must be a regular file; remove it")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DirectoryInUse(_told(directory, os.pread(descriptor, 200, 0))) from None
            except OSError:  # The file system has no locks.
                return descriptor
            if _is_at(descriptor, path):
                with suppress(OSError):  # On a full disk the lock still works, only without our id.
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()} {purpose}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # The previous holder removed the file before we locked it: try again.


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _told(directory: Path, content: bytes) -> str:
    pid, _, purpose = content.decode("utf-8", "replace").strip().partition(" ")
    holder = f"process {pid} ({purpose})" if pid.isdecimal() else "another process"
    return f"{holder} is writing into {directory}: wait until it has ended, or choose another directory"
