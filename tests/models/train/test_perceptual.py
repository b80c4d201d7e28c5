"""The perceptual objective: against a direct computation, what it trains, what a run says and keeps, and what it refuses."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models import features
from models.checkpoint import read
from models.data import Items
from models.distributions import DiagonalGaussian
from models.evaluate.card import description
from models.features import FeatureNet, feature_net
from models.kinds.picture import Picture
from models.objective import evidence_lower_bound
from models.train import perceptual
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.perceptual import SEED_APART, Perceptual, frozen, told
from models.train.run import Run
from models.train.training_error import TrainingError
from models.vae import VAE, VAEConfig

CPU = torch.device("cpu")
ROWS, DIM, K = 5, 3, 2
Flags = Callable[..., list[str]]


@pytest.fixture(scope="module")
def net(digits: Items) -> FeatureNet:
    return frozen(feature_net(digits.x, digits.labels, 3, CPU))


@pytest.fixture
def x(digits: Items) -> Tensor:
    return digits.x[:ROWS].float() / 255


@pytest.fixture
def vae() -> VAE:
    return VAE(VAEConfig((1, 28, 28), DIM, "mlp", {"hidden": [16]}, "gaussian", {"sigma": 0.3})).eval()


@pytest.fixture(scope="module")
def flags(digits_npz: Path) -> Flags:
    def small_run(out: Path, *more: str) -> list[str]:
        small = ["--arch", "mlp", "--hidden", "32", "--latent-dim", "2", "--batch-size", "32", "--device", "cpu"]
        data = [] if "--data" in more else ["--data", f"npz:{digits_npz}"]
        return [*data, *small, "--objective", "perceptual", "--out", str(out), *more]

    return small_run


@pytest.fixture(scope="module")
def trained(flags: Flags, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "digits"
    weights = ["--feature-weight", "2", "--pixel-weight", "0.5", "--beta", "1.5"]
    assert main(flags(out, *weights, "--lr", "0.1", "--schedule", "constant", "--epochs", "7", "--warmup", "0.2")) == 0
    return out


def test_the_loss_as_it_is_written(net: FeatureNet, vae: VAE, x: Tensor) -> None:
    eps = torch.randn(K, ROWS, DIM)
    convolution, wide, dense = (layer for layer in net.body if isinstance(layer, nn.Conv2d | nn.Linear))

    def layers(pictures: Tensor) -> list[Tensor]:
        first = functional.conv2d(pictures, convolution.weight, convolution.bias, 2, 2).relu()
        second = functional.conv2d(first, wide.weight, wide.bias, 2, 1).relu()
        return [first, second, functional.linear(second.flatten(1), dense.weight, dense.bias).relu()]

    posterior, terms, squared = vae.encode(x), [], []
    for noise in eps:
        likelihood = vae.decode(posterior.mu + posterior.sigma * noise)
        terms.append(1.5 * 0.5 * posterior.kl(DiagonalGaussian.standard(noise)) - 0.25 * likelihood.log_prob(x))
        squared.append([(a - b).square().mean() for a, b in zip(layers(x), layers(likelihood.mean), strict=True)])
    mse = [torch.stack(layer).mean().item() for layer in zip(*squared, strict=True)]
    expected = torch.stack(terms).mean().item() + 3 * 784 / 2 * sum(map(math.log, mse)) / 3
    loss = Perceptual(net, 3.0, 0.25, 1.5)(vae, x, eps, 0.5)
    assert loss.value.item() == pytest.approx(expected, rel=1e-5)


def test_the_elbo_that_is_reported_is_the_one_at_beta_one(net: FeatureNet, vae: VAE, x: Tensor) -> None:
    eps = torch.randn(1, ROWS, DIM)
    loss, expected = Perceptual(net, beta=9.0)(vae, x, eps, 0.3), evidence_lower_bound(vae, x, eps[0])
    torch.testing.assert_close(loss.elbo.elbo, expected.elbo.detach())
    assert not loss.elbo.elbo.requires_grad


@pytest.mark.parametrize("pixels", [0.0, 1.0])
def test_it_trains_encoder_and_decoder_and_never_the_classifier(net: FeatureNet, vae: VAE, x: Tensor, pixels: float) -> None:
    before = [parameter.clone() for parameter in net.body.parameters()]
    Perceptual(net, 1.0, pixels)(vae, x, torch.randn(1, ROWS, DIM)).value.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in vae.net.parameters())
    for parameter, old in zip(net.body.parameters(), before, strict=True):
        assert parameter.grad is None
        assert torch.equal(parameter, old)


def test_equal_pictures_have_a_finite_loss(net: FeatureNet, x: Tensor) -> None:
    same = x.clone().requires_grad_()
    value = Perceptual(net).difference(x, same)
    value.backward()
    assert value.item() == pytest.approx(784 * math.log(1 / 255), rel=1e-5)
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_without_a_classifier_it_only_describes_itself(vae: VAE, x: Tensor) -> None:
    objective = Perceptual(None, 2.0, 0.0, 4.0)
    assert objective.remark() == (
        "the loss is not the negative ELBO: reconstructions are judged by features of a classifier (weight 2) and by the log "
        "likelihood of their pixels (weight 0), and the effective beta is 4"
    )
    with pytest.raises(ValueError, match="no classifier"):
        objective(vae, x, torch.randn(1, ROWS, DIM))


def test_pictures_come_nearer_in_features_than_with_the_elbo(digits: Items, net: FeatureNet) -> None:
    """After the same steps from the same weights, on pictures that the classifier and the nets have not seen."""
    apart, x = [], digits.x.float() / 255
    own = frozen(feature_net(digits.x[:200], digits.labels[:200] if digits.labels is not None else None, 4, CPU))
    for weights in ((1.0, 1.0), (1e-9, 1.0)):
        torch.manual_seed(1)
        vae = VAE(VAEConfig((1, 28, 28), 8, "mlp", {"hidden": [64]}, "gaussian", {"sigma": "optimal"}))
        optimizer, objective = torch.optim.Adam(vae.parameters(), 3e-3), Perceptual(own, *weights)
        for step in range(100):
            rows = torch.arange(50) + 50 * (step % 4)
            loss = objective(vae, x[rows], torch.randn(1, 50, 8)).value
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            apart.append(float(Perceptual(net).difference(x[200:], vae.decode(vae.encode(x[200:]).mu).mean)))
    assert apart[0] < apart[1] - 20, apart


class TestRuns:
    def test_what_is_recorded(self, trained: Path) -> None:
        data = read(trained).manifest.data
        training = data["training"]
        assert (training["objective"], training["beta"]) == ("perceptual", 1.5)
        assert (training["feature_weight"], training["pixel_weight"]) == (2, 0.5)
        assert data["binarize"] == "none"
        assert data["choices"]["classifier"].startswith("features of three layers, trained in 100 steps to tell 10 labels")
        assert "gaussian, because --objective perceptual" in data["choices"]["likelihood"]
        assert data["sigma"]["effective_beta"] is None
        assert (trained / "prior.safetensors").exists()
        card = "\n".join(description(read(trained).manifest))
        assert "Objective perceptual: the loss is not the negative ELBO" in card
        assert "effective beta against" not in card

    def test_the_weights_with_the_smallest_loss_are_kept_and_not_those_with_the_best_elbo(self, trained: Path) -> None:
        """Epoch 1 is the warm-up's. A large learning rate makes the losses of the others go up and down."""
        log = [json.loads(line) for line in (trained / "run" / "metrics.jsonl").read_text().splitlines()]
        losses = {entry["epoch"]: entry["validation"]["loss"] for entry in log if entry["epoch"] > 1}
        assert read(trained).manifest.data["kept"] == {"epoch": min(losses, key=losses.__getitem__), "by": "loss"}
        assert all("the loss is not the negative ELBO" in entry["warnings"][0] for entry in log)
        for entry in log:
            terms = entry["validation"]
            assert terms["elbo"] == pytest.approx(terms["log_likelihood"] - terms["kl"], rel=1e-5)

    def test_the_plan_and_the_end_say_it(self, flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(flags(tmp_path, "--steps", "2")) == 0
        out, errors = capsys.readouterr()
        for words in (
            "classifier: it learns the labels of 219 pictures, for the features of the objective",
            "  likelihood: gaussian, because --objective perceptual compares greys as they are",
            "  objective: perceptual: the loss is not the negative ELBO: reconstructions are judged by features of a ",
            "  classifier: features of three layers, trained in 100 steps to tell 10 labels apart; it is right for ",
            "the weights are those of epoch 1, which has the smallest loss on the validation pictures",
        ):
            assert words in out, words
        assert "warning: the loss is not the negative ELBO" in errors

    def test_the_classifier_is_not_the_one_that_judges(
        self, flags: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An evaluation with the same seed, whose pictures are the same, trains another net."""
        monkeypatch.setattr(features, "STEPS", 10)
        run = Run(parse(flags(tmp_path, "--steps", "2", "--seed", "5")))
        assert isinstance(run.objective, Perceptual)
        assert run.objective.net is not None
        judge = feature_net(run.items.x, run.items.labels, 5, CPU)
        same = feature_net(run.items.x, run.items.labels, 5 + SEED_APART, CPU)
        weights = [next(iter(each.body.parameters())) for each in (run.objective.net, judge, same)]
        assert torch.equal(weights[0], weights[2])
        assert not torch.allclose(weights[0], weights[1], atol=0.05)


def test_a_classifier_that_knows_nothing_shows_in_its_description(digits: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "LEAST_STEPS", 1)
    monkeypatch.setattr(features, "STEPS", 1)
    labels = torch.arange(256) % 4
    net = feature_net(digits.x, labels, 0, CPU)
    right = float((net.labels(net.features(digits.x)) == labels).double().mean())
    assert told(net, Items(digits.x, labels)) == (
        f"features of three layers, trained in 1 step to tell 4 labels apart; it is right for {100 * right:.1f} % of 256 "
        "validation pictures, of which 25.0 % have the commonest label"
    )
    assert told(net, Items(digits.x)) == "features of three layers, trained in 1 step to tell 4 labels apart"


@pytest.mark.parametrize(
    ("labels", "found"),
    [(None, "has no labels: give a folder with a sub-folder for each class"), (7, "has the label 7 only: give a folder")],
)
def test_what_has_nothing_to_learn_is_refused(
    flags: Flags, digits: Items, tmp_path: Path, labels: int | None, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays: dict[str, Any] = {"images": digits.x[:, 0].numpy()}
    np.savez(tmp_path / "own.npz", **arrays | ({} if labels is None else {"labels": np.full(256, labels)}))
    assert main(flags(tmp_path / "out", "--data", f"npz:{tmp_path / 'own.npz'}", "--steps", "2")) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: --objective perceptual compares features of a classifier that learns the labels")
    assert found in told
    assert "choose another objective, such as elbo" in told
    assert not (tmp_path / "out" / "run" / "state.safetensors").exists()


class Row(Picture):
    name, many = "row", "rows of a table"


def test_other_kinds_are_refused(flags: Flags, digits: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "data_kind", lambda _: Row())
    with pytest.raises(TrainingError, match=r"features of pictures, and csv:a has rows of a table: choose another objective"):
        perceptual.check(parse(flags(tmp_path, "--data", "csv:a")), digits)
    perceptual.check(parse(["--out", str(tmp_path), "--data", "csv:a"]), digits)


def test_greys_that_are_drawn_as_0_or_1_are_refused(flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags(tmp_path, "--binarize", "dynamic")) == 1
    assert "--binarize dynamic draws each of them as 0 or 1: add --binarize none" in capsys.readouterr().err
    run = Run(parse(flags(tmp_path, "--likelihood", "bernoulli", "--steps", "2")))
    assert run.args.binarize == "none"
