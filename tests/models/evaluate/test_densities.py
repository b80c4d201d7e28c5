"""Densities: bits per dimension of bytes, and bounds that are no likelihoods."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import read
from models.data import load_data
from models.evaluate import agreement, densities
from models.evaluate.__main__ import main
from models.evaluate.card import card
from models.sigma import mean_squared_error
from models.train.__main__ import main as train
from models.vae import VAE, VAEConfig
from tests.models.evaluate.test_card import METRICS, manifest


@pytest.mark.parametrize(
    ("likelihood", "low", "high"), [("gaussian", -0.5 / 255, 255.5 / 255), ("continuous_bernoulli", 0, 1)]
)
def test_the_noise_fills_each_step_of_a_byte(likelihood: str, low: float, high: float) -> None:
    x = torch.tensor([0, 1, 128, 255], dtype=torch.uint8).repeat(5000, 1)
    y = densities.dequantized(x, likelihood, torch.Generator().manual_seed(0))
    step = (high - low) / 256
    for column, byte in enumerate((0, 1, 128, 255)):
        assert y[:, column].min().item() == pytest.approx(low + byte * step, abs=0.01 * step)
        assert y[:, column].max().item() == pytest.approx(low + (byte + 1) * step, abs=0.01 * step)


@pytest.mark.parametrize("likelihood", ["gaussian", "continuous_bernoulli"])
def test_a_uniform_density_over_the_bytes_has_eight_bits(likelihood: str) -> None:
    vae = VAE(VAEConfig((3, 4, 2), 2, "mlp", {"hidden": [4]}, likelihood))
    width = 256 / 255 if likelihood == "gaussian" else 1.0  # of the interval that the dequantised pixels fill
    assert densities.bits_per_dimension(24 * math.log(width), vae) == pytest.approx(8)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained Gaussian model of greys, measured; its data are x.npz beside it."""
    directory = tmp_path_factory.mktemp("greys")
    noise = np.random.default_rng(0)
    rows = np.linspace(60, 200, 8)[None, :, None] + noise.normal(0, 40, (120, 1, 1)) + noise.normal(0, 5, (120, 8, 8))
    np.savez(directory / "x.npz", images=rows.clip(0, 255).astype(np.uint8))
    flags = ["--arch", "mlp", "--hidden", "16", "--latent-dim", "2", "--batch-size", "16", "--lr", "0.01", "--device", "cpu"]
    assert train(["--data", f"npz:{directory / 'x.npz'}", "--epochs", "30", "--out", str(directory / "out"), *flags]) == 0
    assert main([str(directory / "out"), "--samples", "16", "--device", "cpu"]) == 0
    return directory


@torch.no_grad()
def test_numbers_are_those_of_the_protocol(faces: Path) -> None:
    metrics = json.loads((faces / "out" / "metrics.json").read_text())
    found, checkpoint = metrics["densities"], read(faces / "out")
    assert found["bits_per_dimension"] == pytest.approx((metrics["iwae_nll"] / 64 + math.log(255)) / math.log(2))
    assert found["bits_per_dimension"] <= found["elbo_bits_per_dimension"] + 1e-9
    assert 0 < found["bits_per_dimension"] < 8
    x = load_data(f"npz:{faces / 'x.npz'}", faces).test.x
    mse = mean_squared_error(checkpoint.vae.eval(), [x / 255], torch.Generator().manual_seed(0))
    assert found["rmse"] == pytest.approx(mse**0.5, rel=1e-5)
    assert found["effective_beta"] == pytest.approx(found["sigma"] ** 2 / found["rmse"] ** 2, rel=1e-5)
    recorded = checkpoint.manifest.data["sigma"]
    assert recorded["kind"] == "optimal"
    assert found["sigma"] == pytest.approx(recorded["validation_rmse"], rel=1e-5)


def test_the_card_compares_bits_and_keeps_raw_densities_out_of_its_table(faces: Path) -> None:
    text = (faces / "out" / "README.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]
    for name in ("bits per dimension, at most", "RMSE of the pixels", "pixel sigma", "effective beta against"):
        assert sum(line.startswith(f"| {name}") for line in table) == 1, name
    assert not any("log-likelihood" in line or line.startswith("| ELBO |") for line in table)
    assert "Raw density, in nats per picture over pixels in [0, 1]: ELBO " in text
    assert "Pixel sigma 0." in text
    assert "in closed form: the RMSE of 5 validation pictures" in text
    assert "Bits per dimension: (L / P + ln S) / ln 2" in text
    assert "Validation and test: the ELBO of 5 validation pictures is" in text or "Warning: validation and test" in text


def test_few_effective_samples_make_no_likelihood() -> None:
    metrics = METRICS | {"ess_mean": 4.9}
    text = card(Path("mine"), manifest(), metrics, [])
    assert "| negative importance-weighted bound, no estimate of the likelihood | 86.76 +- 0.25 |" in text
    assert "its mean effective sample size is 4.9 of 500, below 5" in text
    assert "What helps: more samples (--samples)" in text
    assert "log-likelihood" not in text
    text = card(Path("mine"), manifest(), METRICS | {"ess_mean": 5.0}, [])
    assert "| importance-weighted negative log-likelihood | 86.76 +- 0.25 |" in text
    assert "no estimate" not in text


@pytest.mark.parametrize(
    ("validation", "spread", "words"),
    [
        (-90.0, 1.0, "Validation and test: the ELBO of 400 validation pictures is -89."),
        (-60.0, 1.0, "chosen on pictures that are easier than new ones"),
        (-130.0, 1.0, "the validation pictures are harder than those of the test"),
        (-60.0, 900.0, "Validation and test: "),  # may be chance
    ],
)
def test_splits_that_disagree(validation: float, spread: float, words: str) -> None:
    noise = torch.Generator().manual_seed(0)
    test = METRICS["elbo"] + spread * torch.randn(400, generator=noise).double()
    found = agreement.difference(validation + spread * torch.randn(400, generator=noise).double(), test)
    said = agreement.lines(METRICS | {"agreement": found})
    assert words in said[0]
    assert said[0].startswith("Warning: ") == ("chosen" in words or "harder" in words)


def test_old_evaluations_have_no_comparison() -> None:
    assert agreement.lines(METRICS) == []
    assert agreement.report_rows(METRICS) == []


def test_the_error_of_a_difference_counts_shared_blocks_once() -> None:
    """Blocks differ by 100, and the two splits in each by 1: the difference is far more certain than either mean."""
    noise = torch.Generator().manual_seed(0)
    blocks = torch.arange(60) // 10
    levels = 100 * torch.randn(6, generator=noise)[blocks].double()
    validation, test = (levels + torch.randn(60, generator=noise).double() for _ in range(2))
    shared = agreement.difference(validation + 2, test, (blocks, blocks))
    apart = agreement.difference(validation + 2, test, (blocks, blocks + 6))
    assert shared["validation_error"] == apart["validation_error"] > 20
    assert shared["standard_errors"] > 4
    assert abs(apart["standard_errors"]) < 0.5
    alone = agreement.difference(validation, test)
    expected = (validation.var() / 60 + test.var() / 60).sqrt() * alone["standard_errors"]
    assert float(expected) == pytest.approx(float(validation.mean() - test.mean()), rel=0.02)
    assert agreement.difference(validation, test, (0 * blocks, blocks))["standard_errors"] is None
