"""A fresh private directory in which processes share their metrics, gone when they are. Knows nothing of what is in it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "vae-metrics-"
# in memory, and writable also where the root file system is not
PREFERRED = Path("/dev/shm")  # noqa: S108


@contextmanager
def shared_directory() -> Iterator[Path]:
    """For the time of the block; whatever a killed service has left there is removed before."""
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
    """Whether it is our user's, and the process that made it is gone."""
    try:
        os.kill(int(directory.name.removeprefix(PREFIX).partition("-")[0]), 0)
    except ProcessLookupError:
        return directory.stat().st_uid == os.getuid()
    except (ValueError, OSError):  # not ours, or somebody else's
        return False
    return False
