"""Drawings and texts are trained by the same command: resumed bit for bit, in batches of rows that are about as long."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.checkpoint import CONFIG, WEIGHTS, read
from models.kinds.strokes import StrokeFormat
from models.kinds.text import TextFormat
from models.train.__main__ import main
from models.train.losses import Loss
from models.train.order import batches
from models.train.run import Run

SMALL = ["--hidden", "8,12", "--latent-dim", "4", "--batch-size", "16", "--device", "cpu", "--no-fit-prior"]
DRAWINGS = Path(__file__).parents[2] / "data" / "strokes.npz"


def drawings(out: Path, *more: str) -> list[str]:
    return ["--data", f"strokes:{DRAWINGS}", "--mixtures", "3", *SMALL, "--out", str(out), *more]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of different lengths."""
    path = tmp_path_factory.mktemp("texts") / "some.txt"
    path.write_text("".join(f"{'so ' * (i % 7)}it is {i}\n" for i in range(120)))
    return path


def test_a_model_of_drawings_has_what_the_data_say(tmp_path: Path) -> None:
    assert main(drawings(tmp_path / "some", "--epochs", "2")) == 0
    checkpoint = read(tmp_path / "some")
    spec = checkpoint.manifest.preprocessing
    assert isinstance(spec, StrokeFormat)
    assert checkpoint.vae.config.shape == (spec.max_length, 3)
    assert 30 < spec.scale < 90
    assert checkpoint.vae.config.arch_options == {"outputs": 21, "encoder": 8, "decoder": 12, "word_dropout": 0.2}
    lines = [json.loads(line) for line in (tmp_path / "some" / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["validation"]["elbo"] > lines[0]["validation"]["elbo"]
    assert (tmp_path / "some" / "run" / "samples-0002.png").exists()


def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(drawings(tmp_path / "whole", "--steps", "30")) == 0
    killed = drawings(tmp_path / "killed", "--steps", "30", "--save-every", "0.0001")
    step = Run.step

    def die(run: Run, x: Tensor, at: int) -> Loss | None:
        if at == 17:  # within the second epoch of 12 steps
            raise RuntimeError("killed")
        return step(run, x, at)

    monkeypatch.setattr(Run, "step", die)
    with pytest.raises(RuntimeError, match="killed"):
        main(killed)
    monkeypatch.setattr(Run, "step", step)
    assert main([*killed, "--resume"]) == 0
    for file in (WEIGHTS, CONFIG):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_model_of_texts_knows_their_characters(tmp_path: Path, texts: Path) -> None:
    assert main(["--data", f"text:{texts}", *SMALL, "--epochs", "1", "--out", str(tmp_path / "some")]) == 0
    checkpoint = read(tmp_path / "some")
    assert checkpoint.manifest.preprocessing == TextFormat(27, list(" 0123456789iost"))
    assert checkpoint.vae.config.arch_options["outputs"] == 16


def test_rows_of_a_batch_are_about_as_long_and_every_row_comes_once() -> None:
    lengths = torch.randint(1, 200, (1000,), generator=torch.Generator().manual_seed(0))
    found = list(batches(1000, 16, 0, 0, lengths))
    assert sorted(torch.cat(found).tolist()) == sorted(set(torch.cat(found).tolist()))
    assert len(found) == 62
    spread = torch.stack([lengths[rows].float().std() for rows in found]).mean()
    assert spread < 0.1 * lengths.float().std()
    first = [int(lengths[rows].max()) for rows in found]
    assert first != sorted(first)
    again = list(batches(1000, 16, 0, 0, lengths))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    other = list(batches(1000, 16, 0, 1, lengths))
    assert not all(torch.equal(a, b) for a, b in zip(found, other, strict=True))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--hidden", "8"], "--arch lstm takes two --hidden widths"),
        (["--arch", "mlp"], "models of drawings take the architecture lstm, not 'mlp'"),
        (["--size", "28"], "--size is for pictures, but --data"),
        (["--bars", "4"], "--bars is for texts, but --data"),
        (["--precision", "bf16"], "--precision bf16 does not work for models of drawings"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], reason: str
) -> None:
    assert main(drawings(tmp_path / "some", *more)) == 1
    assert reason in capsys.readouterr().err
