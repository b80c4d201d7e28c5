"""The distance for searches at the end of a run and by the command: the same, recorded beside the weights, or a reason."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models import metric_choice
from models.checkpoint import CONFIG, read, record_metric
from models.data import Items, hold_out, load_data
from models.evaluate.choose_metric import main as choose_anew
from models.metric_choice import MetricChoice, choose_for
from models.mixture import read_prior
from models.train.__main__ import main

Flags = Callable[..., list[str]]


@pytest.fixture
def argv(digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flags:
    monkeypatch.setattr(metric_choice, "LEAST_QUERIES", 20)
    small = ["--arch", "mlp", "--hidden", "32", "--latent-dim", "2", "--batch-size", "32", "--epochs", "4", "--device", "cpu"]
    more = ["--lr", "0.01", "--validation", "0.3", "--out", str(tmp_path / "out")]
    return lambda *last: ["--data", f"npz:{digits_npz}", *small, *more, *last]


def test_it_is_chosen_by_the_validation_pictures(
    argv: Flags, tmp_path: Path, digits_npz: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(argv()) == 0
    checkpoint = read(out)
    fitting, held_out = hold_out(load_data(f"npz:{digits_npz}", Path()).train, 0.3, 0)
    assert fitting.labels is not None
    assert held_out.labels is not None
    wanted = choose_for(checkpoint.vae, fitting.x, fitting.labels, held_out.x, held_out.labels)
    assert checkpoint.manifest.search == wanted
    assert f"{len(fitting)} training pictures to each of {len(held_out)} validation pictures" in wanted.chosen_by
    assert f"search metric: {wanted} ({wanted.chosen_by})\n" in capsys.readouterr().out
    assert read_prior(out, checkpoint.digest, 2) is not None  # The digest does not change, so the mixture is still its own.

    before = (out / CONFIG).stat().st_mtime_ns
    assert main(["--out", str(out), "--resume"]) == 0
    assert (out / CONFIG).stat().st_mtime_ns == before
    stored = json.loads((out / CONFIG).read_text())
    del stored["search"]
    (out / CONFIG).write_text(json.dumps(stored, indent=2) + "\n")
    assert read(out).manifest.search == MetricChoice()
    assert choose_anew([str(out), "--device", "cpu"]) == 0
    assert f"{out}: {wanted} ({wanted.chosen_by})\n" in capsys.readouterr().out
    again = read(out)
    assert (again.manifest.search, again.digest) == (wanted, checkpoint.digest)


def test_without_enough_labels_it_is_l2(
    argv: Flags, digits: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "greys.npz", images=digits.x[:60, 0].numpy())
    assert main(argv("--data", f"npz:{tmp_path / 'greys.npz'}")) == 0
    assert "search metric: l2, because the pictures have no labels" in capsys.readouterr().out
    assert read(tmp_path / "out").manifest.search == MetricChoice()
    assert choose_anew([str(tmp_path / "out"), str(tmp_path / "none"), "--device", "cpu"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert any(line.endswith("array `labels`, would help; searches use l2") for line in lines)
    assert "none" in lines[-1]
    record_metric(tmp_path / "out", MetricChoice("w2", 6.0, "an earlier choice"))
    assert choose_anew([str(tmp_path / "out"), "--device", "cpu"]) == 1
    wanted = "array `labels`, would help; the recorded choice, w2 with sigma_weight 6, stays"
    assert capsys.readouterr().err.rstrip().endswith(wanted)
    assert read(tmp_path / "out").manifest.search.metric == "w2"
    monkeypatch.setattr(metric_choice, "LEAST_QUERIES", 2000)
    assert main(argv("--overwrite")) == 0
    wanted = "pictures with labels, and at least 2000 are needed; more of them would help"
    said = capsys.readouterr().out
    assert "search metric: l2, because there are " in said
    assert wanted in said
    assert choose_anew([str(tmp_path / "out"), "--device", "cpu"]) == 1
    assert wanted in capsys.readouterr().err


def test_few_validation_pictures_choose_with_one_left_out(
    argv: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metric_choice, "LEAST_QUERIES", 200)
    assert main(argv()) == 0
    choice = read(tmp_path / "out").manifest.search
    assert "(leave-one-out): " in choice.chosen_by
    assert "; only 69 are for validation, fewer than 200," in choice.chosen_by
    assert f"search metric: {choice} ({choice.chosen_by})\n" in capsys.readouterr().out
    assert choose_anew([str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert read(tmp_path / "out").manifest.search == choice
