"""Detects that files of a sqlite store were deleted or replaced while they were open.

A process can go on reading and writing an open file after its name is gone, and sqlite does: everything seems to succeed, and
is lost after a restart. Knows nothing of what is in the files.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from service.store.interface import StoreUnusable

# sqlite's files beside the database: the write-ahead log, and the memory that processes share.
LOG = "-wal"
COMPANIONS = (LOG, "-shm")
Identity = tuple[int, int]


@dataclass(slots=True)
class FileIdentity:
    """Device and inode of the file and of its companions. Any thread may call `check`."""

    path: Path
    _opened: dict[str, Identity] = field(default_factory=dict)
    _log: str = ""  # the name of the write-ahead log at the time when the file was opened

    def check_names(self) -> None:
        """Raise StoreUnusable if the file has several names (hard links). Call it before the file is opened first."""
        links = 1 if self._opened or not self.path.is_file() else self.path.stat().st_nlink
        if links > 1:
            raise StoreUnusable(
                f"{self.path} has {links} names (hard links), and sqlite keeps a log for each name: a process that "
                f"uses another name would damage the file; remove the other names, or copy the file"
            )

    def remember(self) -> None:
        """Remember the files that are there now, or check them if some are remembered already. Raises StoreUnusable."""
        if self._opened:
            self.check()
            return
        # sqlite follows links to the file, and puts the companions beside the real file.
        real = os.path.realpath(self.path)
        self._log = real + LOG
        found = {name: _identity(name) for name in (str(self.path), *(real + suffix for suffix in COMPANIONS))}
        self._opened = {name: identity for name, identity in found.items() if identity is not None}

    def was_replaced(self) -> bool:
        """Return whether the file was replaced while its log is still the one that was opened."""
        file, log = self._opened.get(str(self.path)), self._opened.get(self._log)
        if file is None or log is None:
            return False
        return _identity(str(self.path)) not in (None, file) and _identity(self._log) == log

    def forget(self) -> None:
        """Forget the files: they have been closed."""
        self._opened = {}

    def check(self) -> None:
        """Raise StoreUnusable if an open file was deleted or replaced. This takes a few microseconds."""
        for name, identity in self._opened.items():
            found = _identity(name)
            if found != identity:
                what = "was deleted" if found is None else "was replaced by another file"
                raise StoreUnusable(
                    f"{name} {what} while it was in use: the store refuses all requests; move the original file back "
                    f"(a copy is not enough), or restart the service to use what is there now"
                )


def _identity(name: str) -> Identity | None:
    try:
        found = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
