"""What the example with two nodes refuses before it starts Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.ray.two_nodes import OF_RAY, SOCKET_PATH_BYTES, check_length, main
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


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--variable foo", "--variable must be NAME=VALUE, not 'foo'"),
        ("--variable =foo", "--variable must be NAME=VALUE, not '=foo'"),
        ("--nodes 0", "--nodes must be at least 1, not 0"),
        ("--models-per-replica -1", "--models-per-replica must be at least 0, not -1"),
        ("--target nan", "--target must be at least 0.1, not nan"),
        ("--port 70000", "--port must be at most 65535, not 70000"),
    ],
)
def test_a_wrong_argument_is_refused_before_ray_starts(
    arguments: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["two_nodes", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {reason}\n")


@pytest.mark.parametrize("missing", ["ray", "yaml"])  # yaml comes with Ray
def test_without_ray_it_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules['{missing}'] = None; from examples.ray.two_nodes import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, "error: Ray is not installed: pip install 'vae-service[ray]'\n")
