"""Files that other people put into a directory: a pipe, a socket or a device is refused by name, and nothing waits for it."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.checkpoint import CONFIG, WEIGHTS, CheckpointError, read, save
from models.evaluate.__main__ import main as evaluate
from models.files.atomic_file import write_atomically
from models.files.regular_file import NotRegular, TooLarge, open_regular, read_regular
from models.golden import GOLDEN, read_golden
from models.mixture import PRIOR, read_prior
from models.train.__main__ import main
from models.train.resume import STATE
from models.vae import VAE, VAEConfig
from tests.special_files import KINDS, no_longer_than

EACH = pytest.mark.parametrize("kind", KINDS)
TRAINING = ["--arch", "mlp", "--hidden", "4", "--latent-dim", "2", "--epochs", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _an_end() -> Iterator[None]:
    with no_longer_than(60):
        yield


def replace(path: Path, kind: str) -> str:
    """Put something else in a file's place; what errors call it."""
    path.unlink(missing_ok=True)
    make, name = KINDS[kind]
    make(path)
    return name


class TestOpening:
    @EACH
    def test_what_is_not_a_regular_file(self, kind: str, tmp_path: Path) -> None:
        name = replace(tmp_path / "it", kind)
        before = len(os.listdir("/proc/self/fd"))
        for reading in (open_regular, read_regular):
            with pytest.raises(NotRegular, match=f"is {name}; only regular files are read"):
                reading(tmp_path / "it")
        assert len(os.listdir("/proc/self/fd")) == before

    def test_files_links_to_them_and_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"content")
        (tmp_path / "link").symlink_to("file")
        (tmp_path / "dangling").symlink_to("nowhere")
        assert read_regular(tmp_path / "link") == b"content"
        for name in ("nothing", "dangling"):
            with pytest.raises(FileNotFoundError):
                read_regular(tmp_path / name)

    def test_a_limit(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"content")
        assert read_regular(tmp_path / "file", 7) == b"content"
        with pytest.raises(TooLarge, match="more than the 6 bytes"):
            read_regular(tmp_path / "file", 6)

    def test_a_file_that_does_not_say_how_large_it_is(self) -> None:
        status = Path("/proc/self/status")
        assert status.stat().st_size == 0
        assert read_regular(status).startswith(b"Name:")
        assert read_regular(status, 1 << 20).startswith(b"Name:")
        with pytest.raises(TooLarge, match="more than the 10 bytes"):
            read_regular(status, 10)

    def test_a_file_that_grows_or_shrinks_while_it_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path, read = tmp_path / "file", os.read
        for before, after in ((b"content", b"content, and more"), (b"content, and more", b"content"), (b"content", b"")):
            path.write_bytes(before)

            def changed(descriptor: int, count: int, content: bytes = after) -> bytes:
                path.write_bytes(content)
                return read(descriptor, count)

            monkeypatch.setattr(os, "read", changed)
            assert read_regular(path) == after
            path.write_bytes(before)
            assert read_regular(path, 100) == after

    def test_a_writer_that_waits_at_a_pipe_goes_on_waiting(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(NotRegular):
            open_regular(tmp_path / "pipe")
        with pytest.raises(OSError, match="No such device"):  # there is no reader
            os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK)

    @EACH
    def test_nothing_is_written_over_it(self, kind: str, tmp_path: Path) -> None:
        replace(tmp_path / "it", kind)
        if (tmp_path / "it").is_symlink():
            return  # the link is replaced, not what it leads to
        with pytest.raises(OSError, match="exists and is not a regular file"):
            write_atomically(tmp_path / "it", b"content")


class TestCheckpoint:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> Path:
        save(tmp_path, VAE(VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [4]})), data={"name": f"npz:{tmp_path}/digits.npz"})
        return tmp_path

    @EACH
    @pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
    def test_its_own_files(self, saved: Path, file: str, kind: str) -> None:
        name = replace(saved / file, kind)
        with pytest.raises(CheckpointError, match=f"{file}: is {name}"):
            read(saved)

    @EACH
    def test_files_beside_it(self, saved: Path, kind: str) -> None:
        checkpoint = read(saved)
        name = replace(saved / PRIOR, kind)
        (saved / "elsewhere").unlink(missing_ok=True)
        replace(saved / GOLDEN, kind)
        with pytest.raises(CheckpointError, match=f"{PRIOR}: is {name}" if kind != "link" else PRIOR):
            read_prior(saved, checkpoint.digest, 2)
        with pytest.raises(CheckpointError, match=f"{GOLDEN}: is {name}"):
            read_golden(saved, checkpoint.digest, checkpoint.manifest.model)

    @EACH
    def test_numbers_of_an_evaluation(self, saved: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        np.savez(saved / "digits.npz", images=np.zeros((20, 8, 8), np.uint8))
        name = replace(saved / "metrics.json", kind)
        assert evaluate([str(saved), "--recorded"]) == 1
        assert f"metrics.json: is {name}; only regular files are read\n" in capsys.readouterr().err

    @EACH
    def test_the_state_of_a_run(self, saved: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        (saved / "run").mkdir()
        name = replace(saved / "run" / STATE, kind)
        assert main(["--out", str(saved), "--resume"]) == 1
        assert f"{STATE}: is {name}" in capsys.readouterr().err


class TestData:
    @EACH
    def test_an_npz(self, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        name = replace(tmp_path / "x.npz", kind)
        assert main(["--data", f"npz:{tmp_path / 'x.npz'}", "--out", str(tmp_path / "out"), *TRAINING]) == 1
        assert ("x.npz is a folder" if kind == "directory" else f"x.npz is {name}") in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link"])
    def test_a_picture_is_named_counted_and_skipped(
        self, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "pictures"
        folder.mkdir()
        for i in range(30):
            Image.new("L", (8, 8), i).save(folder / f"{i:02d}.png")
        name = replace(folder / "07.png", kind)
        flags = ["--data", f"folder:{folder}", "--out", str(tmp_path / "out"), *TRAINING]
        assert main([*flags, "--max-corrupt", "0.1"]) == 0
        assert f"skipped {folder / '07.png'}: is {name}" in capsys.readouterr().err
        (folder / "08.png").write_bytes(b"")  # One such file is always allowed, two are more than a hundredth.
        assert main([*flags, "--overwrite"]) == 1
        assert "2 of 30 pictures" in capsys.readouterr().err
