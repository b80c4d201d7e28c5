"""Failing calls on purpose: a small library, compiled on demand, that a real process is started with.

It fails one write, fsync, rename, link, unlink, mkdir, chmod or making of a file below a directory, once; see the C file.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")


@cache
def library() -> Path:
    """The compiled library. Skips the test where there is no C compiler, but not in CI."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        assert "CI" not in os.environ, "these tests need a C compiler: apt-get install gcc libc6-dev"
        pytest.skip("needs a C compiler (cc)")
    path = Path(tempfile.mkdtemp(prefix="fault-injection-")) / "fault_injection.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", path, SOURCE, "-ldl", "-lpthread"], check=True)
    return path


def environment(directory: Path | None = None, number: int = 0, error: int = 0, report: Path | None = None) -> dict[str, str]:
    """The environment of a process in which call `number` below a directory fails; 0 only counts.

    `report`: a file that gets the number of calls, and the call that failed, when the process ends by itself.
    """
    found = {**os.environ, "LD_PRELOAD": str(library()), "FAULT_NUMBER": str(number), "FAULT_ERRNO": str(error)}
    if directory is not None:
        found["FAULT_DIRECTORY"] = str(directory)
    if report is not None:
        found["FAULT_REPORT"] = str(report)
    return found


class Faults:
    """The library from within a process that was started with it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.fault_failed.restype = ctypes.c_char_p
        self._library.fault_counted.restype = ctypes.c_long

    def arm(self, directory: Path, number: int, error: int) -> None:
        """Have that call below the directory fail, counted from now on."""
        self._library.fault_arm(str(directory).encode(), ctypes.c_long(number), ctypes.c_int(error))

    def disarm(self) -> str:
        """No failures from now on. The call that has failed and its path, or nothing."""
        failed = str(self._library.fault_failed(), "utf-8")
        self._library.fault_arm(b"", ctypes.c_long(0), ctypes.c_int(0))
        return failed

    @contextmanager
    def failing(self, directory: Path, number: int, error: int) -> Iterator[list[str]]:
        """Have that call in the block fail. After it the list has the call that has failed and its path, if one has."""
        failed: list[str] = []
        self.arm(directory, number, error)
        try:
            yield failed
        finally:
            failed += filter(None, [self.disarm()])
