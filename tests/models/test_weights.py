"""The shipped checkpoints: small, whole, as fast as promised, and with cards that say what metrics.json says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch.utils.flop_counter import FlopCounterMode

import models
from models import diffusers_weights
from models.calibration import CALIBRATION, MOST_LATENTS, read_calibration
from models.checkpoint import WEIGHTS, read
from models.data import Items
from models.drawings.polylines import extent
from models.evaluate import card, pictures
from models.evaluate.sequences import found_again
from models.golden import read_golden
from models.kinds import kind_of
from models.readers.strokes import read_strokes

DRAWINGS = Path(__file__).parents[1] / "data" / "strokes.npz"
SHIPPED = Path(models.__file__).parent / "weights"
NAMES = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
TEST_ITEMS = {"mnist": 10_000, "fashion-mnist": 10_000, "lpc-sprites": 2664, "omniglot-strokes": 1000}
# Data sets without published figures to compare with, whose bounds have fewer samples.
FEWER_SAMPLES = {"sprites": 100, "sprites-kl": 10, "strokes": 50}
# Latents of 256 numbers take more space than the weights.
WITHOUT_CALIBRATION = {"sprites-kl"}


def test_names() -> None:
    known = {"mnist", "mnist-2d", "mnist-40", "mnist-labelled", "fashion-mnist", "fashion-mnist-40", "sprites"}
    assert known | {"strokes", "sprites-kl"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_small_and_with_the_card_of_its_metrics(name: str) -> None:
    directory = SHIPPED / name
    file = directory / (diffusers_weights.WEIGHTS if name == "sprites-kl" else WEIGHTS)
    assert file.stat().st_size < 8_000_000
    metrics = json.loads((directory / "metrics.json").read_text(), parse_constant=pytest.fail)  # NaN is not JSON
    manifest = read(directory).manifest
    count = TEST_ITEMS[manifest.data["name"]]
    assert metrics["protocol"]["split"] == f"test, {count} {kind_of(manifest.model.kind).many}"
    # There are figures to compare with, but none given the label.
    conditional = manifest.model.condition is not None
    assert metrics["protocol"]["iwae_samples"] >= (100 if conditional else FEWER_SAMPLES.get(name, 500))
    shown = [name for name in card.CAPTIONS if (directory / name).exists()]
    relative = Path("models/weights") / name
    calibration = read_calibration(directory, read(directory).digest, manifest.model.latent_dim)
    assert (calibration is None) == (name in WITHOUT_CALIBRATION)
    record = None if calibration is None else calibration.record
    assert (directory / "README.md").read_text() == card.card(relative, manifest, metrics, shown, record)


@pytest.mark.parametrize("name", sorted({*NAMES} - WITHOUT_CALIBRATION))
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


def test_drawings_are_found_again_and_samples_end() -> None:
    """A sign that the weights of the drawings are those of the trained model."""
    metrics = json.loads((SHIPPED / "strokes" / "metrics.json").read_text())
    assert metrics["kl"] >= 5
    assert metrics["sequences"]["elbo_better_than_zero"] >= 0.2
    assert metrics["sequences"]["latent_gain"] >= metrics["kl"]
    assert metrics["sequences"]["found_again"] >= 0.7
    checkpoint = read(SHIPPED / "strokes")
    vae, spec = checkpoint.vae, checkpoint.manifest.preprocessing
    rows = torch.from_numpy(read_strokes(DRAWINGS, model=spec).x[-32:])
    assert found_again(vae, rows, spec)["found_again"] >= 0.9
    noise = torch.Generator().manual_seed(0)
    z, uniforms = torch.randn(32, 32, generator=noise), torch.rand(32, spec.max_length, 5, generator=noise)
    drawn = vae.decode(z).draw(uniforms, torch.full((32,), 0.4))  # type: ignore[attr-defined]
    lengths = vae.kind.lengths(drawn)
    assert lengths is not None
    assert bool((lengths < spec.max_length).all())
    sizes = torch.tensor([extent(lines) for lines in spec.polylines(drawn.numpy())])
    assert 0.5 * spec.extent < float(sizes.median()) < 2 * spec.extent


def test_sprites_kl_is_for_diffusers_too() -> None:
    """Its own library reads it, and pictures come back as they were."""
    path = SHIPPED / "sprites-kl"
    original: Any = AutoencoderKL.from_pretrained(path)
    checkpoint = read(path)
    golden = read_golden(path, checkpoint.digest, checkpoint.manifest.model)
    assert golden is not None
    x = torch.from_numpy(golden.x).float() / 255
    with torch.inference_mode():
        latents = original.encode(2 * x - 1).latent_dist.mean
        torch.testing.assert_close(latents.flatten(1), torch.from_numpy(golden.mu), rtol=1e-4, atol=1e-4)
        sample = original.decode(latents).sample
    torch.testing.assert_close((sample + 1) / 2, torch.from_numpy(golden.mean), rtol=1e-4, atol=1e-4)
    assert float(((sample + 1) / 2 - x).square().mean().sqrt()) < 0.04
    assert 0.6 < original.config.scaling_factor * float(latents.std()) < 1.2  # draws are a little wider than these means
