"""Runs that end before their time: what they say, and what they leave."""

import errno
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from models.checkpoint import CONFIG
from models.train.__main__ import main
from models.train.plan import resume_command
from models.train.run import Run

Flags = Callable[[Path], list[str]]


@pytest.fixture
def flags(digits_npz: Path) -> Flags:
    small = ["--arch", "mlp", "--hidden", "16", "--latent-dim", "2", "--batch-size", "32", "--epochs", "2", "--device", "cpu"]
    return lambda out: ["--data", f"npz:{digits_npz}", *small, "--out", str(out)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_the_pictures_are_read(
    number: signal.Signals, flags: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.train.run.load_for_all", lambda *_: signal.raise_signal(number))
    assert main(flags(tmp_path / "out")) == 130
    assert capsys.readouterr().err == "stopped before the training began\n"
    assert not (tmp_path / "out").exists()


def test_a_full_disk(
    flags: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_run: Run, step: int) -> None:
        if step == 9:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_snapshot", full)
        assert main(flags(tmp_path)) == 1
    told = capsys.readouterr().err
    assert "No space left on device\n" in told
    assert told.endswith(f"make room on the disk, then continue with: {resume_command(tmp_path)}\n")
    assert main(["--out", str(tmp_path), "--resume"]) == 0


def test_full_memory(
    flags: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 256000000000 bytes.")

    monkeypatch.setattr(Run, "step", full)
    assert main(flags(tmp_path)) == 1
    assert "error: the memory is full: start again with a smaller --batch-size" in capsys.readouterr().err


def test_a_loss_that_is_never_finite_in_validation(flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*flags(tmp_path), "--lr", "1e30"]) == 1
    told = capsys.readouterr().err
    assert "warning: some steps had no effect, because their loss was not finite (NaN or infinite)" in told
    assert "error: the loss was never finite on all validation pictures: there is no checkpoint; start again" in told


def test_a_loss_that_is_not_finite_again_and_again(flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*flags(tmp_path), "--lr", "1e30", "--epochs", "6"]) == 1
    told = capsys.readouterr().err
    assert "error: the loss was not finite (NaN or infinite) 20 times in a row, last at step " in told
    assert "there is no checkpoint; start again with --overwrite and a smaller --lr, such as 0.001, or a smaller" in told
    assert not (tmp_path / CONFIG).exists()
