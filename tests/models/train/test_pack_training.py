"""Training and evaluating with --pack gives the checkpoint that data in memory give, bit for bit, resumed or not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.data import file_rows
from models.data.file_rows import RowFile
from models.evaluate.__main__ import main as evaluate
from models.train import run as run_module
from models.train.__main__ import main

FLAGS = [
    *("--arch", "mlp", "--hidden", "4", "--latent-dim", "2", "--batch-size", "16", "--device", "cpu", "--threads", "1"),
    *("--steps", "12", "--size", "12x10", "--ema", "0.5"),
]
FILES = ("config.json", "model.safetensors")


@pytest.fixture
def folder(digits_npz: Path, tmp_path: Path) -> Path:
    """100 digits in folders of their labels."""
    with np.load(digits_npz) as arrays:
        for i, (pixels, label) in enumerate(zip(arrays["images"][:100], arrays["labels"], strict=False)):
            path = tmp_path / "digits" / str(label) / f"{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "digits"


def train(folder: Path, out: Path, *more: str) -> None:
    assert main(["--data", f"folder:{folder}", "--out", str(out), *FLAGS, *more]) == 0


def written(out: Path, *names: str) -> list[bytes]:
    return [(out / name).read_bytes() for name in names]


@pytest.mark.parametrize(
    "flags",
    [[], ["--condition", "label"], ["--validation-split", "blocks"], ["--prior", "vamp", "--pseudo-inputs", "5"]],
    ids=lambda flags: " ".join(flags[:2]),
)
def test_the_same_checkpoint(
    folder: Path, tmp_path: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(file_rows, "AT_ONCE", 17 * 120)  # little more than a batch
    train(folder, tmp_path / "a" / "x", *flags)
    pack = tmp_path / "pack"
    train(folder, tmp_path / "b" / "x", "--pack", str(pack), *flags)
    assert f"--pack {pack} --report" in capsys.readouterr().out
    assert written(tmp_path / "a" / "x", *FILES) == written(tmp_path / "b" / "x", *FILES)
    for name, more in (("a", []), ("b", ["--pack", str(pack)])):
        assert evaluate([str(tmp_path / name / "x"), "--samples", "2", *more]) == 0
    names = ("metrics.json", "golden.safetensors", "reconstructions.png")
    assert written(tmp_path / "a" / "x", *names) == written(tmp_path / "b" / "x", *names)


def test_resumed_from_the_file_alone(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped goes on although the folder has gone, and ends as one that was not stopped."""
    pack = str(tmp_path / "pack")
    train(folder, tmp_path / "a" / "x", "--pack", pack)
    steps, step = list[int](), run_module.Run.step

    def stopped(self: run_module.Run, x: torch.Tensor, number: int) -> object:
        if number == 7 and not steps:
            steps.append(number)
            raise KeyboardInterrupt
        return step(self, x, number)

    monkeypatch.setattr(run_module.Run, "step", stopped)
    assert main(["--data", f"folder:{folder}", "--out", str(tmp_path / "b" / "x"), *FLAGS, "--pack", pack]) == 130
    shutil.rmtree(folder)
    assert main(["--out", str(tmp_path / "b" / "x"), "--resume"]) == 0
    assert written(tmp_path / "a" / "x", *FILES) == written(tmp_path / "b" / "x", *FILES)


def test_no_more_than_a_block_is_read_at_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_rows, "AT_ONCE", 17 * 120)
    monkeypatch.setattr("models.train.run_directory.BLOCK", 17 * 120)
    for place in ("models.data.near_duplicates.BLOCK", "models.train.kinds.picture_choices.BLOCK"):
        monkeypatch.setattr(place, 10)
    monkeypatch.setattr(run_module, "VALIDATION_ROWS", 3)
    counts, real = list[int](), RowFile.read

    def counted(self: RowFile, rows: torch.Tensor) -> torch.Tensor:
        counts.append(len(rows))
        return real(self, rows)

    monkeypatch.setattr(RowFile, "read", counted)
    train(folder, tmp_path / "x", "--pack", str(tmp_path / "pack"), "--no-fit-prior")
    assert sum(counts) > 3 * 100
    assert sorted(counts)[-1] <= 86


def test_refused_for_other_kinds(penguins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", f"csv:{penguins}", "--out", str(tmp_path / "x"), "--pack", str(tmp_path / "pack")]) == 1
    assert "--pack is for pictures, but --data csv:" in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


def test_evaluation_names_one_source(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(folder, tmp_path / "x", "--pack", str(tmp_path / "pack"), "--no-fit-prior")
    more = ["--pack", str(tmp_path / "pack"), "--data", f"folder:{folder}"]
    assert evaluate([str(tmp_path / "x"), *more]) == 1
    assert "--pack has the data that the model was trained on" in capsys.readouterr().err
    assert evaluate([str(tmp_path / "x"), "--pack", str(tmp_path / "gone")]) == 1
    assert f"--pack {tmp_path / 'gone'}: no such file; models.evaluate only reads" in capsys.readouterr().err
