"""What the example with two nodes refuses before it starts Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.ray.two_nodes import OF_RAY, SOCKET_PATH_BYTES, check_length
from tests.live.server import ROOT, environment


def test_a_long_directory_for_temporary_files_is_refused_in_one_line(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 60)
    directory.mkdir()
    ended = subprocess.run(
        [sys.executable, "-m", "examples.ray.two_nodes"],
        cwd=ROOT, env={**environment(), "TMPDIR": str(directory)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: the path of the directory for temporary files, {directory}/vae-ray-")
    assert "set TMPDIR to a shorter path, such as /tmp" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not list(directory.iterdir())


def test_what_just_fits_is_taken() -> None:
    directory = "/" + "x" * (SOCKET_PATH_BYTES - len(OF_RAY) - 1)
    check_length(directory)
    with pytest.raises(SystemExit):
        check_length(directory + "x")
