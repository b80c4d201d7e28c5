"""The mixture at the end of a run: the one that the evaluator fits, or a reason why there is none."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.aggregate import fit_prior
from models.checkpoint import read
from models.data import Items, hold_out, load_data
from models.evaluate.__main__ import main as evaluate
from models.mixture import PRIOR, read_prior
from models.train import latent_dim
from models.train.__main__ import main

Flags = Callable[..., list[str]]


@pytest.fixture
def argv(digits_npz: Path, tmp_path: Path) -> Flags:
    small = ["--arch", "mlp", "--hidden", "32", "--latent-dim", "2", "--batch-size", "32", "--epochs", "4", "--device", "cpu"]
    return lambda *more: ["--data", f"npz:{digits_npz}", *small, "--lr", "0.01", "--out", str(tmp_path / "out"), *more]


def test_it_is_the_evaluator_s(argv: Flags, tmp_path: Path, digits_npz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv()) == 0
    checkpoint = read(tmp_path / "out")
    found = read_prior(tmp_path / "out", checkpoint.digest, 2)
    assert found is not None
    assert found.fitted["fitted_by"] == "models.train"
    training, held_out = hold_out(load_data(f"npz:{digits_npz}", Path()).train, 0.05, 0)
    fit, _ = fit_prior(checkpoint.vae, training.x, held_out.x, candidates=(1, 2, 5, 10), binarize=True)
    torch.testing.assert_close(found.mixture.means, fit.mixture.means.float().double())
    told = capsys.readouterr().out
    assert "prior: a mixture of " in told
    assert re.search(r"it knows no labels, because label \d has \d+ pictures, and with 2 latent dimensions each needs", told)
    plan = re.search(r"prior: (the prior that is fitted at the end knows no labels, because label .*would help)\n", told)
    assert plan is not None
    assert checkpoint.manifest.data["choices"]["labels"] == plan[1]


def test_a_hint_at_a_larger_d_says_that_it_would_lose_the_labels(
    argv: Flags, tmp_path: Path, digits: Items, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(latent_dim, "LEAST_STEPS", 5)
    labels = np.where(np.arange(256) < 30, 1, 0)  # With 3 latent dimensions each needs 20, with 6 it needs 35.
    np.savez(tmp_path / "two.npz", images=digits.x[:, 0].numpy(), labels=labels)
    assert main(argv("--data", f"npz:{tmp_path / 'two.npz'}", "--latent-dim", "3", "--epochs", "20")) == 0
    said = capsys.readouterr()
    assert "the prior that is fitted at the end knows no labels" not in said.out
    assert "for one of 2 labels if asked" in said.out
    wanted = r"such as 6, may give a better ELBO, but the fitted prior would lose the labels: label 1 has \d+ pictures, and"
    assert re.search(wanted, said.err)


def test_labels_are_those_of_the_data(argv: Flags, tmp_path: Path, digits: Items, capsys: pytest.CaptureFixture[str]) -> None:
    """Training and evaluation fit the same labels: whether a digit is one of 0 to 4."""
    assert digits.labels is not None
    np.savez(tmp_path / "two.npz", images=digits.x[:, 0].numpy(), labels=(digits.labels < 5).numpy().astype(np.int64))
    assert main(argv("--data", f"npz:{tmp_path / 'two.npz'}")) == 0
    assert "for one of 2 labels if asked" in capsys.readouterr().out
    digest = read(tmp_path / "out").digest
    for _ in range(2):
        prior = read_prior(tmp_path / "out", digest, 2)
        assert prior is not None
        assert list(prior.by_label()) == ["0", "1"]
        (tmp_path / "out" / PRIOR).unlink()
        assert (
            evaluate([str(tmp_path / "out"), "--samples", "1", "--fit-prior", "--prior-components", "2", "--device", "cpu"])
            == 0
        )


def test_a_finished_run_gets_a_missing_one_and_keeps_the_one_it_has(argv: Flags, tmp_path: Path) -> None:
    assert main(argv()) == 0
    out, digest = tmp_path / "out", read(tmp_path / "out").digest
    first = read_prior(out, digest, 2)
    (out / PRIOR).unlink()
    assert main(["--out", str(out), "--resume"]) == 0
    again = read_prior(out, digest, 2)
    assert first is not None
    assert again is not None
    assert again.fitted == first.fitted
    assert torch.equal(again.mixture.means, first.mixture.means)
    before = (out / PRIOR).stat().st_mtime_ns
    assert main(["--out", str(out), "--resume"]) == 0
    assert (out / PRIOR).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--no-fit-prior"], "--no-fit-prior"),
        (["--objective", "autoencoder"], "--objective autoencoder trains no posterior"),
        (["--objective", "kl-only"], "--objective kl-only"),
        (["--prior", "vamp", "--pseudo-inputs", "5"], "learnt its own prior"),
        (
            ["--latent-dim", "60"],
            "over 60 latent dimensions needs at least 305 pictures (10 x 61 draws, two from each), and there are 219",
        ),
    ],
)
def test_there_is_none_with_a_reason(
    argv: Flags, tmp_path: Path, more: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv("--epochs", "1", *more)) == 0
    told = capsys.readouterr().out
    assert "prior: none was fitted, because " in told
    assert reason in told
    assert not (tmp_path / "out" / PRIOR).exists()


def test_a_mixture_of_other_weights_does_not_stay(argv: Flags, tmp_path: Path) -> None:
    assert main(argv()) == 0
    assert main(argv("--seed", "1", "--no-fit-prior", "--overwrite")) == 0
    assert not (tmp_path / "out" / PRIOR).exists()


def test_it_is_not_wanted_any_more_when_the_run_goes_on(argv: Flags, tmp_path: Path) -> None:
    assert main(argv("--no-fit-prior")) == 0
    assert main(["--out", str(tmp_path / "out"), "--resume", "--epochs", "5"]) == 0
    assert not (tmp_path / "out" / PRIOR).exists()
