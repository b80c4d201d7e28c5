"""Every call of a change that touches the disk fails: nothing acknowledged is lost, nothing refused appears, it goes on."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.fault_injection import environment


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: what is tested is what happens when fsync fails, not how long it takes."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="vae-faults-", dir="/dev/shm") as name:
        yield Path(name)


CHANGES = ("create", "add", "keep", "patch", "direction", "delete several", "delete", "drop", "close", "backup")
ALIKE = ("patch", "delete")  # transactions like those of "add" and "delete several"


@pytest.mark.parametrize("change", [pytest.param(one, marks=[pytest.mark.soak] * (one in ALIKE)) for one in CHANGES])
def test_one_failure_of_the_disk(change: str, memory: Path) -> None:
    command = [sys.executable, "-m", "tests.service.store.faulty", str(memory), change, "EIO", "ENOSPC"]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True)
    found = orjson.loads(done.stdout)
    assert len(found) >= 10
    assert not [one for one in found if one["wrong"]]
    said = {one["error"]: {other["said"] for other in found if other["error"] == one["error"]} for one in found}
    if change != "close":  # which can do without all that it does
        assert any("disk I/O error" in text for text in said["EIO"])
        assert any(text.startswith("DiskFull: ") for text in said["ENOSPC"])
