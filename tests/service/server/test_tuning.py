"""The process itself: what it makes of standard descriptors that are closed."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import os, subprocess, sys
from service.server.tuning import open_standard_descriptors
open_standard_descriptors()
assert min(os.pipe()) > 2
for stream in (sys.stdout, sys.stderr):
    print("some words \\udcff", file=stream, flush=True)
assert sys.stdin.read() == ""
child = "import os; [os.fstat(i) for i in range(3)]"
sys.exit(subprocess.run([sys.executable, "-c", child]).returncode)
"""


@pytest.mark.parametrize("closed", [one for count in range(4) for one in itertools.combinations((0, 1, 2), count)])
def test_standard_descriptors_that_are_closed_lead_to_dev_null(closed: tuple[int, ...]) -> None:
    redirections = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (b"some words" in done.stdout, b"some words" in done.stderr) == (1 not in closed, 2 not in closed)
