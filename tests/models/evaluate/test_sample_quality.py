"""Fréchet distance, precision and recall: against closed forms and brute force; and the numbers of a real little model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models import features
from models.checkpoint import read, save
from models.data import Items, Splits
from models.evaluate import report
from models.evaluate.card import card
from models.evaluate.headings import headings
from models.evaluate.kinds import measuring_for
from models.evaluate.measure import evaluate
from models.evaluate.sample_quality import (
    KEY,
    compare,
    confirmed,
    frechet_distance,
    reach,
    sample_quality,
    sample_rows,
    share_within,
)
from models.kinds import KINDS
from models.mixture import ComponentLabels, FittedPrior, GaussianMixture
from models.vae import VAE, VAEConfig

CPU = torch.device("cpu")


def test_frechet_distance_of_gaussians_with_these_moments() -> None:
    a = torch.randn(500, 4, dtype=torch.float64)
    shift = torch.tensor([3.0, 0.0, -4.0, 0.0], dtype=torch.float64)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + shift) == pytest.approx(25)
    # Twice as wide: C_b = 4 C_a, so that tr(C_a + C_b - 2 (C_a C_b)^(1/2)) = tr C_a.
    centred = a - a.mean(0)
    assert frechet_distance(centred, 2 * centred) == pytest.approx(float(torch.cov(a.T).trace()))


def test_frechet_distance_is_that_of_the_matrix_square_root() -> None:
    a, b = torch.randn(300, 5, dtype=torch.float64), torch.randn(400, 5, dtype=torch.float64) @ torch.randn(5, 5).double()
    first, second = np.cov(a.T.numpy()), np.cov(b.T.numpy())
    values = np.linalg.eigvals(first @ second).real  # of a matrix that is not symmetric: another way
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum().item() + np.trace(first + second) - 2 * np.sqrt(values).sum()
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_precision_and_recall_are_those_of_brute_force() -> None:
    real, made = torch.randn(60, 3, dtype=torch.float64), 0.5 * torch.randn(50, 3, dtype=torch.float64) + 0.5

    def brute(points: Tensor, centres: Tensor) -> float:
        known = centres.numpy()
        radii = [sorted(np.linalg.norm(known - centre, axis=1))[3] for centre in known]
        inside = [any(np.linalg.norm(p - c) <= r for c, r in zip(known, radii, strict=True)) for p in points.numpy()]
        return float(np.mean(inside))

    found = compare(real, made)
    assert (found.precision, found.recall) == (brute(made, real), brute(real, made))
    assert share_within(real, real, reach(real)) == 1


def test_a_lost_half_lowers_recall_and_junk_lowers_precision() -> None:
    real = torch.randn(400, 2) + torch.tensor([10.0, 0.0]) * torch.randint(0, 2, (400, 1))
    half = torch.randn(400, 2)
    junk = torch.cat([real[:200] + 0.01, 100 + torch.randn(200, 2)])
    assert compare(real, half).recall == pytest.approx(0.5, abs=0.1)
    assert compare(real, half).precision > 0.9
    assert compare(real, junk).precision == pytest.approx(0.5, abs=0.02)


@pytest.fixture
def splits(digits: Items, monkeypatch: pytest.MonkeyPatch) -> Splits:
    monkeypatch.setattr(features, "STEPS", 60)
    return Splits(digits, digits[:140])


def prior(dim: int = 3) -> FittedPrior:
    means = torch.arange(3.0)[:, None].expand(3, dim).double()
    mixture = GaussianMixture(torch.tensor([0.5, 0.25, 0.25]), means, torch.ones(3, dim).double())
    return FittedPrior(mixture, {}, ComponentLabels(("0", "7"), torch.tensor([1, 0, 1])))


@pytest.mark.parametrize("kind", ["standard", "vamp"])
def test_numbers_of_a_model(splits: Splits, kind: str) -> None:
    options = {"pseudo_inputs": 5} if kind == "vamp" else {}
    vae = VAE(VAEConfig((1, 28, 28), 3, "mlp", {"hidden": [8]}, prior=kind, prior_options=options))
    fitted = prior()
    found = sample_quality(vae, splits, fitted, 3, CPU)
    numbers, protocol = found
    assert sample_quality(vae, splits, fitted, 3, CPU) == found
    sets = {"real", "real_in_order", "own_prior", "own_prior_cooled", "aggregate_prior"}
    assert numbers.keys() == sets | {"classifier_accuracy", "confirmed"}
    for name in sets:
        assert numbers[name].keys() == {"frechet", "precision", "recall"}
    assert numbers["real"]["frechet"] < numbers["own_prior"]["frechet"]  # The model is not trained.
    assert numbers["confirmed"]["by_label"].keys() == {"0", "7"}
    assert json.loads(json.dumps(numbers)) == numbers
    for words in ("140 decoded means", "seed 3", "first 70 pictures", "14 latents from its components"):
        assert words in protocol
    rows = sample_rows({KEY: numbers}, "N(0, I)")
    assert [key for _, _, key in rows] == ["own_prior", "own_prior_cooled", "aggregate_prior", "real", "real_in_order"]


def test_they_are_among_the_numbers_of_an_evaluation(splits: Splits, tmp_path: Path) -> None:
    save(tmp_path, VAE(VAEConfig((1, 28, 28), 3, "mlp", {"hidden": [8]})))
    checkpoint = read(tmp_path)
    metrics = evaluate(checkpoint, splits, 1, 3, CPU, prior())
    assert (metrics[KEY], metrics["protocol"][KEY]) == sample_quality(checkpoint.vae, splits, prior(), 3, CPU)
    text = card(tmp_path, checkpoint.manifest, metrics, [])
    assert "| samples of the fitted prior: Fréchet distance; precision, recall | " in text
    assert f"Samples: {metrics['protocol'][KEY]}." in text
    page = report._numbers(metrics, headings(checkpoint.manifest, metrics), 3, "N(0, I)", measuring_for(KINDS["picture"]))
    for name, one in metrics[KEY].items():
        if isinstance(one, dict) and "frechet" in one:
            assert f'data-key="sample_quality.{name}.frechet" value="{one["frechet"]!r}"' in page
    few = evaluate(checkpoint, Splits(splits.train, splits.test[:20]), 1, 3, CPU, prior())
    assert "Samples: not measured: there are 20 test pictures" in card(tmp_path, checkpoint.manifest, few, [])


def test_without_labels_or_prior(splits: Splits) -> None:
    vae = VAE(VAEConfig((1, 28, 28), 3, "mlp", {"hidden": [8]}))
    found = sample_quality(vae, Splits(Items(splits.train.x), Items(splits.test.x)), None, 0, CPU)
    assert found[0].keys() == {"real", "real_in_order", "own_prior", "own_prior_cooled"}
    assert "no training, because the pictures have no labels" in found[1]
    few = sample_quality(vae, Splits(splits.train, splits.test[:129]), None, 0, CPU)
    assert few == ({}, "not measured: there are 129 test pictures, and at least 130 are needed")
    assert sample_rows({}, "N(0, I)") == []


def test_a_label_is_confirmed_by_its_name(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that draws real digits: component k of the prior always gives a picture of one label."""
    net, noise = features.feature_net(splits.train.x, splits.train.labels, 0, CPU), torch.Generator().manual_seed(0)
    told = net.labels(net.features(splits.train.x))
    one = {label: splits.train.x[told == label][:1] for label in (0, 7)}

    class Drawn:
        class config:
            latent_dim = 1

        def given(self, _labels: object) -> "Drawn":
            return self

        def decode(self, z: Tensor) -> Any:
            class Likelihood:
                mean = torch.where(z[:, :, None, None] < 0.5, one[0], one[7]) / 255

            return Likelihood()

    mixture = GaussianMixture(torch.ones(2) / 2, torch.tensor([[0.0], [1.0]]).double(), torch.full((2, 1), 1e-6).double())
    for names, classes, expected in (
        (("0", "7"), None, {"0": 1.0, "7": 1.0}),
        (("7", "0"), None, {"7": 0.0, "0": 0.0}),
        (("n0", "n7"), [f"n{i}" for i in range(10)], {"n0": 1.0, "n7": 1.0}),
    ):
        labelled = FittedPrior(mixture, {}, ComponentLabels(names, torch.tensor([0, 1])))
        found = confirmed(Drawn(), net, labelled, classes, 100, noise, CPU)  # type: ignore[arg-type]
        assert found == {"share": sum(expected.values()) / 2, "by_label": expected}
