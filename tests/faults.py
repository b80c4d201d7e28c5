"""Failing disks: one write, fsync, truncation, rename or unlink of a process fails, by a library that it is started with.

A test starts a process with `with_faults` in its environment, and that process says with `failing` what shall fail.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")


class Count:
    """Calls that were made; the wanted one has failed if there were as many."""

    calls = 0


def build(directory: Path) -> Path:
    """Compile the library."""
    assert shutil.which("cc"), "these tests need a C compiler: apt-get install gcc libc6-dev"
    library = directory / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def with_faults(library: Path) -> dict[str, str]:
    """The environment of a process that can have faults."""
    return {**os.environ, "LD_PRELOAD": str(library)}


@contextmanager
def failing(path: Path, nth: int, error: int) -> Iterator[Count]:
    """The nth call in the block that changes a file below the path fails with an errno."""
    library, count = ctypes.CDLL(None), Count()
    library.fault_arm(os.fsencode(path), ctypes.c_long(nth), error)
    try:
        yield count
    finally:
        library.fault_disarm.restype = ctypes.c_long
        count.calls = library.fault_disarm()
