"""Whether the files of a sqlite store are still the ones that were opened, not gone and not replaced by others.

Whoever has a file open can go on reading and writing after its name is gone, and sqlite does: everything seems to succeed,
and nothing of it is there after a restart. Knows nothing of what is in the files.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from service.store.interface import StoreUnusable

# beside the file itself: its write-ahead log and what processes share about it
LOG = "-wal"
COMPANIONS = (LOG, "-shm")
Identity = tuple[int, int]


@dataclass(slots=True)
class FileIdentity:
    """The device and inode of the file and of its companions. Any thread may ask."""

    path: Path
    _opened: dict[str, Identity] = field(default_factory=dict)
    _log: str = ""  # the name of the write-ahead log at the time when the file was opened

    def check_names(self) -> None:
        """Raise StoreUnusable if the file has names other than its own, before it is opened for the first time."""
        links = 1 if self._opened or not self.path.is_file() else self.path.stat().st_nlink
        if links > 1:
            raise StoreUnusable(
                f"{self.path} has {links} names (hard links), and a process that opened it by another one would damage it: "
                f"each keeps a log of its own; remove the other names, or copy the file"
            )

    def remember(self) -> None:
        """Take the files that are there now for those that were opened, unless others were before. Raises StoreUnusable."""
        if self._opened:
            self.check()
            return
        # sqlite follows links to the file, and puts the companions beside what it finds
        real = os.path.realpath(self.path)
        self._log = real + LOG
        found = {name: _identity(name) for name in (str(self.path), *(real + suffix for suffix in COMPANIONS))}
        self._opened = {name: identity for name, identity in found.items() if identity is not None}

    def was_replaced(self) -> bool:
        """Whether the file itself is another one, and the log beside it still the one that was opened."""
        file, log = self._opened.get(str(self.path)), self._opened.get(self._log)
        if file is None or log is None:
            return False
        return _identity(str(self.path)) not in (None, file) and _identity(self._log) == log

    def forget(self) -> None:
        """Nothing is open any more."""
        self._opened = {}

    def check(self) -> None:
        """Raise StoreUnusable if a file that was opened is gone or another one. It takes a few microseconds."""
        for name, identity in self._opened.items():
            found = _identity(name)
            if found != identity:
                what = "was deleted" if found is None else "was replaced by another file"
                raise StoreUnusable(
                    f"{name} {what} while it was in use: nothing more is stored or found; put that file back (a copy is "
                    f"another one), or restart the service to go on with what is there"
                )


def _identity(name: str) -> Identity | None:
    try:
        found = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
