"""The distance for searches at the end of a run and by the command: the same, recorded beside the weights, or a reason."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models import search_choice
from models.checkpoint import CONFIG, read, record_search
from models.data import Pictures, hold_out, load_data
from models.evaluate.search import main as choose_anew
from models.mixture import read_prior
from models.search_choice import SearchChoice, choose_for
from models.train.__main__ import main

Flags = Callable[..., list[str]]


@pytest.fixture
def argv(digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flags:
    monkeypatch.setattr(search_choice, "LEAST_QUERIES", 20)
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
    assert f"search: by {wanted} ({wanted.chosen_by})\n" in capsys.readouterr().out
    assert read_prior(out, checkpoint.digest, 2) is not None  # The digest does not change, so the mixture is still its own.

    before = (out / CONFIG).stat().st_mtime_ns
    assert main(["--out", str(out), "--resume"]) == 0
    assert (out / CONFIG).stat().st_mtime_ns == before
    stored = json.loads((out / CONFIG).read_text())
    del stored["search"]
    (out / CONFIG).write_text(json.dumps(stored, indent=2) + "\n")
    assert read(out).manifest.search == SearchChoice()
    assert choose_anew([str(out), "--device", "cpu"]) == 0
    assert f"{out}: {wanted} ({wanted.chosen_by})\n" in capsys.readouterr().out
    again = read(out)
    assert (again.manifest.search, again.digest) == (wanted, checkpoint.digest)


def test_without_enough_labels_it_is_l2(
    argv: Flags, digits: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "greys.npz", images=digits.x[:60, 0].numpy())
    assert main(argv("--data", f"npz:{tmp_path / 'greys.npz'}")) == 0
    assert "search: by l2, because the pictures have no labels" in capsys.readouterr().out
    assert read(tmp_path / "out").manifest.search == SearchChoice()
    assert choose_anew([str(tmp_path / "out"), str(tmp_path / "none"), "--device", "cpu"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert any(line.endswith("no labels by which a distance could be chosen; searches use l2") for line in lines)
    assert "none" in lines[-1]
    record_search(tmp_path / "out", SearchChoice("w2", 6.0, "an earlier choice"))
    assert choose_anew([str(tmp_path / "out"), "--device", "cpu"]) == 1
    wanted = "no labels by which a distance could be chosen; the recorded choice, w2 with sigma_weight 6, stays"
    assert capsys.readouterr().err.rstrip().endswith(wanted)
    assert read(tmp_path / "out").manifest.search.metric == "w2"
    monkeypatch.setattr(search_choice, "LEAST_QUERIES", 200)
    assert main(argv("--overwrite")) == 0
    assert "search: by l2, because there are 69 validation pictures with labels, and at least 200" in capsys.readouterr().out
    assert choose_anew([str(tmp_path / "out"), "--device", "cpu"]) == 1
    assert "at least 200 are needed" in capsys.readouterr().err
