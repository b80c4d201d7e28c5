"""A temporary private directory in which processes share their metrics. Knows nothing of its content."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "vae-metrics-"
# In memory, and writable even if the root file system is read-only.
PREFERRED = Path("/dev/shm")  # noqa: S108


@contextmanager
def shared_directory() -> Iterator[Path]:
    """Make the directory, remove it after the block, and first remove directories that killed services have left."""
    parent = PREFERRED if os.access(PREFERRED, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{PREFIX}*-*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _is_left(directory: Path) -> bool:
    """Return whether the directory belongs to our user and the process that made it has ended."""
    try:
        os.kill(int(directory.name.removeprefix(PREFIX).partition("-")[0]), 0)
    except ProcessLookupError:
        return directory.stat().st_uid == os.getuid()
    except (ValueError, OSError):  # the name has no process id, or the process belongs to another user
        return False
    return False
