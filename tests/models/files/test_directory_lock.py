"""Two processes and one directory: the second is refused and told who the first is; a dead one is in nobody's way."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import CONFIG
from models.evaluate.__main__ import main as evaluate
from models.files.atomic_file import WriteError
from models.files.directory_lock import LOCK, DirectoryInUse, locked
from models.train.__main__ import main
from models.train.resume import STATE
from tests.special_files import no_longer_than, pipe

FOR_EVER = ["--arch", "mlp", "--hidden", "4", "--latent-dim", "2", "--epochs", "1000000", "--device", "cpu"]


class TestLock:
    def test_a_second_holder_is_told_of_the_first(self, tmp_path: Path) -> None:
        with locked(tmp_path, "models.train"):
            told = rf"process {os.getpid()} \(models.train\) is writing into {tmp_path}"
            with pytest.raises(DirectoryInUse, match=told), locked(tmp_path, "models.evaluate"):
                pass
            with locked(tmp_path / "another", "models.train", make=True):
                pass
        with locked(tmp_path, "models.train"):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_holder_that_fails_lets_go(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError), locked(tmp_path, "models.train"):
            raise KeyError
        with locked(tmp_path, "models.train"):
            pass

    def test_directories_are_made_and_removed_if_nothing_is_put_into_them(self, tmp_path: Path) -> None:
        with locked(tmp_path / "deep" / "empty", "models.train", make=True):
            pass
        assert not (tmp_path / "deep" / "empty").exists()
        with locked(tmp_path / "full", "models.train", make=True):
            (tmp_path / "full" / "file").touch()
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]
        with locked(tmp_path / "nothing", "models.evaluate"):
            assert not (tmp_path / "nothing").exists()

    def test_a_lock_file_that_a_dead_process_left(self, tmp_path: Path) -> None:
        (tmp_path / LOCK).write_text("1 models.train\n")
        with locked(tmp_path, "models.train"):
            assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()} ")

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"12", b"x" * 5000])
    def test_a_holder_that_did_not_say_who_it_is(self, tmp_path: Path, content: bytes) -> None:
        with locked(tmp_path, "models.train"):
            (tmp_path / LOCK).write_bytes(content)
            with pytest.raises(DirectoryInUse, match=r"process .*is writing into"), locked(tmp_path, "models.train"):
                pass

    def test_a_lock_file_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("precious")
        (tmp_path / LOCK).symlink_to("precious")
        with pytest.raises(WriteError, match=rf"cannot write .*/\{LOCK}: "), locked(tmp_path, "models.train"):
            pass
        assert (tmp_path / "precious").read_text() == "precious"
        (tmp_path / LOCK).unlink()
        pipe(tmp_path / LOCK)
        with (
            no_longer_than(60),
            pytest.raises(DirectoryInUse, match="must be a regular file"),
            locked(tmp_path, "models.train"),
        ):
            pass


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (100, 8, 8), np.uint8))
    return path


@pytest.fixture
def training(pictures: Path, tmp_path: Path) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """A training that goes on until it is killed."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "models.train", "--data", f"npz:{pictures}", "--out", str(out), *FOR_EVER]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("epoch 1:") for line in process.stdout)
        # it must not wait for anybody to read what it says
        reader = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        yield out, process
        process.kill()
        reader.wait()


def test_whatever_else_writes_there_is_refused(
    pictures: Path, training: tuple[Path, "subprocess.Popen[str]"], capsys: pytest.CaptureFixture[str]
) -> None:
    out, process = training
    holder = f"error: process {process.pid} (models.train) is writing into {out}"
    for again in ([*FOR_EVER], [*FOR_EVER, "--overwrite"], ["--resume"]):
        data = [] if again == ["--resume"] else ["--data", f"npz:{pictures}"]
        assert main([*data, "--out", str(out), *again]) == 1
        assert holder in capsys.readouterr().err
    for more in ([], ["--fit-prior"], ["--recorded"]):
        assert evaluate([str(out), *more]) == 1
        assert holder in capsys.readouterr().err
    assert process.poll() is None
    # last: nobody is in the way of those who come after a kill
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (out / LOCK).exists()
    assert (out / CONFIG).exists()
    assert (out / "run" / STATE).exists()
    assert evaluate([str(out), "--limit", "2", "--samples", "1"]) == 0
    assert not (out / LOCK).exists()
