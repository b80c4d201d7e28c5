"""Overfitting: what is measured on both splits, when it is told, and what a run of few pictures records and says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoint import read
from models.data import Items
from models.evaluate.card import description
from models.kinds import KINDS
from models.train import overfitting
from models.train.__main__ import main
from models.vae import VAE, VAEConfig

FLAGS = ["--arch", "mlp", "--hidden", "64", "--latent-dim", "4", "--batch-size", "20", "--lr", "0.01", "--device", "cpu"]


def plain(x: Tensor, _: torch.Generator) -> Tensor:
    return KINDS["picture"].to_x(x)


def test_the_same_pictures_are_equally_good(digits: Items) -> None:
    torch.manual_seed(0)
    vae = VAE(VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [8]}))
    found = overfitting.record(vae, plain, digits.x, digits.x)[overfitting.KEY]
    assert found["training_elbo"] == found["validation_elbo"] < 0
    assert (found["training_pictures"], found["validation_pictures"], found["difference"]) == (256, 256, 0)
    assert vae.training
    blank = overfitting.record(vae, plain, torch.zeros(3, 1, 28, 28, dtype=torch.uint8), digits.x)[overfitting.KEY]
    assert blank["training_elbo"] - blank["validation_elbo"] == pytest.approx(
        blank["difference"] * abs(blank["validation_elbo"])
    )


def test_of_many_pictures_some_are_measured(digits: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overfitting, "MEASURED", 100)
    torch.manual_seed(0)
    vae = VAE(VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [8]}))
    found = overfitting.record(vae, plain, digits.x, digits.x[:100])[overfitting.KEY]
    assert (found["training_pictures"], found["validation_pictures"]) == (86, 100)


def test_numbers_that_are_not_finite_are_not_recorded(digits: Items) -> None:
    vae = VAE(VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [8]}))
    with torch.no_grad():
        next(vae.parameters()).fill_(torch.nan)
    assert overfitting.record(vae, plain, digits.x, digits.x) == {}


@pytest.mark.parametrize(
    ("difference", "errors", "is_told"), [(0.2, 5.0, True), (0.04, 5.0, False), (0.2, 1.5, False), (-0.2, -5.0, False)]
)
def test_it_is_told_if_the_difference_is_large_and_no_chance(difference: float, errors: float, is_told: bool) -> None:
    numbers: dict[str, Any] = {
        "training_elbo": -80.0, "validation_elbo": -100.0, "training_pictures": 1000, "validation_pictures": 50,
        "difference": difference, "standard_errors": errors,
    }  # fmt: skip
    data = {overfitting.KEY: numbers, "training": {"arch": "conv", "patience": 0, "epochs": 9}, "kept": {"epoch": 4}}
    assert bool(overfitting.told(data)) == is_told
    if is_told:
        assert overfitting.told(data) == (
            "overfitting: the ELBO of 1,000 training pictures is -80.00, that of 50 validation pictures -100.00, so that it "
            "is better by 20 % and 5.0 standard errors (told above 5 % and 2); what helps: more pictures, or a smaller net; "
            "--patience 5 or fewer --epochs save the time after the best epoch"
        )
        assert overfitting.told({**data, "kept": {"epoch": 9}}).endswith("more pictures, or a smaller net")
        patient = {**data, "training": {"arch": "mlp", "patience": 3}}
        assert overfitting.told(patient).endswith("what helps: more pictures, --dropout 0.2, or a smaller net")


def test_earlier_versions_recorded_nothing() -> None:
    assert overfitting.told({"training": {}}) == ""


def test_a_run_that_learns_few_pictures_by_heart_says_so(
    digits: Items, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Noise, of which nothing can be learnt for other pictures: a warm-up to the end keeps the last weights."""
    noise = np.random.default_rng(0).integers(0, 2, (80, 8, 8)) * 255
    np.savez(tmp_path / "noise.npz", images=noise.astype(np.uint8))

    def run(name: str, data: str, *more: str) -> str:
        assert main(["--data", f"npz:{tmp_path / data}", *FLAGS, "--out", str(tmp_path / name), *more]) == 0
        return capsys.readouterr().out

    said = run("noise", "noise.npz", "--epochs", "80", "--validation", "0.25", "--warmup", "0.99", "--beta", "0.1")
    manifest = read(tmp_path / "noise").manifest
    line = overfitting.told(manifest.data)
    assert line.startswith("overfitting: ")
    assert f"{line}\n" in said
    assert f"O{line[1:]}." in description(manifest)
    np.savez(tmp_path / "digits.npz", images=digits.x[:, 0].numpy())
    assert "overfitting" not in run("digits", "digits.npz", "--epochs", "2", "--validation", "0.25")
    assert overfitting.KEY in read(tmp_path / "digits").manifest.data
    run("auto", "digits.npz", "--epochs", "2", "--objective", "autoencoder")
    assert overfitting.KEY not in read(tmp_path / "auto").manifest.data
