"""Disks that fail or are full, at every single call of a save: what was there stays usable, and somebody is told."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import fault_injection

ROOT = Path(__file__).parents[2]
ERRORS = pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=lambda number: errno.errorcode[number])
# what a run can do without: the name of the lock's holder, the removal of what has had its time, making what is there
HARMLESS = ("pwrite", "ftruncate", "unlink", "link", "mkdir")


def failures(kind: str, directory: Path, error: int, first: int, stride: int) -> list[dict[str, Any]]:
    """What became of each save, in a process of its own."""
    command = [sys.executable, "-m", "tests.models.saving", kind, str(directory), str(error), str(first), str(stride)]
    variables = {**fault_injection.environment(), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@ERRORS
def test_every_call_of_a_save(error: int, tmp_path: Path) -> None:
    found = failures("saves", tmp_path, error, 1, 1)
    assert {entry["kind"] for entry in found} >= {"checkpoint", "checkpoint of another model", "state", "log", "companion"}
    calls = {entry["failed"].split()[0] for entry in found if entry["kind"] == "checkpoint"}
    assert calls >= {"open", "write", "fsync", "chmod", "rename", "link", "unlink"}
    for entry in found:
        call, path = entry["failed"].split(maxsplit=1)
        assert entry["left"] == [], entry
        if entry["told"] is None:
            assert call in HARMLESS, entry
            assert entry["holds"] == "new", entry
        else:
            assert os.strerror(error) in entry["told"], entry
            # the directory's own fsync is the last call: all is in place, but a power cut may take it back
            assert entry["holds"] == ("new" if call == "fsync" and Path(path).is_dir() else "old") or entry["kind"] == "log"
            assert not entry["holds"].startswith("broken"), entry


def held(found: list[dict[str, Any]], error: int) -> None:
    for entry in found:
        assert entry["holds"] == "new", entry
        assert entry["left"] == [], entry
        if entry["status"]:
            assert entry["status"] == 1, entry
            assert "error: cannot" in entry["told"] or os.strerror(error) in entry["told"], entry
        else:
            assert entry["failed"].split()[0] in HARMLESS, entry


def test_a_run_goes_on_after_a_full_disk(tmp_path: Path) -> None:
    found = failures("training", tmp_path, errno.ENOSPC, 3, 34)
    assert len(found) > 2
    held(found, errno.ENOSPC)


@pytest.mark.soak
@ERRORS
def test_a_run_goes_on_after_every_failure(error: int, tmp_path: Path) -> None:
    found = failures("training", tmp_path, error, 1, 1)
    assert len(found) > 50
    held(found, error)
