"""The programs of client/README.md run."""

import os
import subprocess
import sys

import pytest

from tests.documents import blocks
from tests.live.server import ROOT, Server

PROGRAMS = blocks("python", (ROOT / "client" / "README.md").read_text())


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_programs_run(number: int, server: Server) -> None:
    program = PROGRAMS[number].replace("http://localhost:8000", server.url)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "client")}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == [["seven.png", "0.0"], ["(1,", "20)"]][number]
