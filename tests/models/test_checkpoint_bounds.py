"""What a refused checkpoint may cost: about a second (ten times the work of a MiB of JSON), and 64 MiB and 8 bytes
of memory for each byte of its files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEBIBYTES = 1 << 20


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux, which can reset the peak of memory")
def test_refused_checkpoints(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.models.hostile_checkpoints", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 40
    for entry in found:
        assert entry["told"].startswith(str(tmp_path)), entry
        assert len(entry["told"]) < 3000, entry["kind"]
        assert entry["grown"] < 64 * MEBIBYTES + 8 * entry["size"], entry
        assert entry["work"] < 10, entry  # about a second; compared with other work, since the machine may be slow or busy
