"""Where training runs: names of models, systems without POSIX, devices that lack something."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.train.arguments import parse
from models.train.devices import DeviceError, choose_device

# The last part of each may not be the name of a model.
BAD = ["runs/my model", "runs/.hidden", "runs/-x", "runs/ü", "/", "x" * 101, "a b/.", "runs/a:b"]
# modules that Windows does not have
POSIX = ["fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog"]
COMMANDS = ["models", "models.train.__main__", "models.evaluate.__main__", "models.evaluate.triptych"]


@pytest.mark.parametrize("out", BAD)
def test_a_directory_that_cannot_be_served_is_refused(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([f"--out={out}"])
    assert caught.value.code == 2
    assert "argument --out: the directory would be the name of the model, and " in capsys.readouterr().err


@pytest.mark.parametrize("out", ["runs/mine", "runs/mine/", "runs/mnist-2d_v1.0", "a b/../c", "my runs/x"])
def test_other_directories_are_taken(out: str) -> None:
    assert parse(["--out", out]).out == Path(out)


def test_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my model").mkdir()
    monkeypatch.chdir(tmp_path / "my model")
    with pytest.raises(SystemExit):
        parse(["--out", "."])
    assert "'my model' is not valid" in capsys.readouterr().err


def test_training_and_evaluation_import_without_posix() -> None:
    missing = f"import sys; sys.modules.update(dict.fromkeys({POSIX}))"
    program = "\n".join([missing, *(f"import {name}" for name in COMMANDS), "from models.train import run_directory"])
    program += "\nimport torch; assert run_directory.peak_memory_mb(torch.device('cpu')) == 0.0"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_a_device_without_float64_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mps.is_available():
        with pytest.raises(DeviceError, match="cannot use the device 'mps': ") as caught:
            choose_device("mps")
        assert "\n" not in str(caught.value)
    zeros = torch.zeros

    def zeros_of_mps(*size: int, dtype: torch.dtype | None = None, device: object = None) -> torch.Tensor:
        if dtype is torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")
        return zeros(*size)

    monkeypatch.setattr(torch, "zeros", zeros_of_mps)
    with pytest.raises(DeviceError, match="cannot use the device 'mps': Cannot convert a MPS Tensor to float64 dtype"):
        choose_device("mps")
