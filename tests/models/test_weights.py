"""The shipped checkpoints: small, whole, as fast as promised, and with cards that say what metrics.json says."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import models
from models.calibration import CALIBRATION, MOST_LATENTS, read_calibration
from models.checkpoint import WEIGHTS, read
from models.data import Items
from models.evaluate import card, pictures

SHIPPED = Path(models.__file__).parent / "weights"
NAMES = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
TEST_PICTURES = {"mnist": 10_000, "fashion-mnist": 10_000, "lpc-sprites": 2664}


def test_names() -> None:
    assert {"mnist", "mnist-2d", "mnist-40", "mnist-labelled", "fashion-mnist", "fashion-mnist-40", "sprites"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_small_and_with_the_card_of_its_metrics(name: str) -> None:
    directory = SHIPPED / name
    assert (directory / WEIGHTS).stat().st_size < 8_000_000
    metrics = json.loads((directory / "metrics.json").read_text())
    manifest = read(directory).manifest
    assert metrics["protocol"]["split"] == f"test, {TEST_PICTURES[manifest.data['name']]} pictures"
    # There are figures to compare with, but none given the label.
    published = manifest.data["name"] != "lpc-sprites" and manifest.model.condition is None
    assert metrics["protocol"]["iwae_samples"] >= (500 if published else 100)
    shown = [name for name in card.CAPTIONS if (directory / name).exists()]
    relative = Path("models/weights") / name
    calibration = read_calibration(directory, read(directory).digest, manifest.model.latent_dim)
    assert calibration is not None
    assert (directory / "README.md").read_text() == card.card(relative, manifest, metrics, shown, calibration.record)


@pytest.mark.parametrize("name", NAMES)
def test_calibrations_are_small_and_keep_what_they_promise(name: str) -> None:
    path = SHIPPED / name / CALIBRATION
    assert path.stat().st_size < 2_000_000
    calibration = read_calibration(path.parent, read(path.parent).digest, read(path.parent).vae.config.latent_dim)
    assert calibration is not None
    assert len(calibration.mu) <= MOST_LATENTS
    assert 2 <= len(calibration.default) <= 3
    assert calibration.record["digest"] == read(path.parent).digest
    assert calibration.record["held_out"]["split"].startswith("validation")
    assert str(SHIPPED.parent) not in json.dumps(calibration.record)
    auroc = calibration.record["auroc"]["p_value"]
    if name in ("mnist-40", "fashion-mnist-40"):
        assert min(auroc[kind] for kind in ("inverted", "one colour", "noise", "omniglot")) >= 0.92
        assert auroc["rotated by 90 degrees"] >= 0.85
        assert calibration.record["test"]["distance"] <= 0.05
        assert 0.03 <= calibration.record["test"]["share_up_to_0.05"] <= 0.07


def test_digits_of_mnist_labelled_are_those_that_it_was_asked_for() -> None:
    """By the classifier of the evaluation: each label of 1,000 samples in all, drawn from the fitted prior as /sample does."""
    confirmed = json.loads((SHIPPED / "mnist-labelled" / "metrics.json").read_text())["sample_quality"]["confirmed"]
    assert confirmed["share"] >= 0.95
    assert len(confirmed["by_label"]) == 10


def test_encode_and_decode_of_mnist_are_under_5_mflop() -> None:
    vae = models.load(SHIPPED / "mnist")
    for function, rows in ((vae.encode, torch.rand(1, 1, 28, 28)), (vae.decode, torch.randn(1, 20))):
        with FlopCounterMode(display=False) as counter:
            function(rows)
        assert 0 < counter.get_total_flops() <= 5_000_000


def test_reconstructions_are_of_the_right_digits(digits: Items) -> None:
    """A sign that the weights are those of the trained model: reconstructions explain most of the greys."""
    vae = models.load(SHIPPED / "mnist")
    x = digits.x.float() / 255
    error = (vae.decode(vae.encode(x).mu).mean - x).square().mean()
    assert error < 0.15 * x.var()
    assert pictures.reconstructions(vae, digits.x[:16]).size == (16 * 30 - 2, 2 * 30 - 2)
