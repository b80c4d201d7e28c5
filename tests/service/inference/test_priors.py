"""The priors from which latents of a model can be drawn."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from models.checkpoint import read
from models.mixture import GaussianMixture, read_prior, write_prior
from models.vae import VAE, VAEConfig
from service.inference.priors import NoSuchLabel, NoSuchPrior, Priors, priors_of, why_no_labels


def load(directory: Path) -> Priors:
    return priors_of(directory.name, directory, read(directory))


def test_a_mixture_beside_the_weights_is_the_aggregate_prior(weights: Path) -> None:
    priors = load(weights / "grey")
    assert (priors.own, priors.names, priors.choose("standard")[1]) == ("standard", ["aggregate", "standard"], None)
    mixture = priors.choose("aggregate")[1]
    assert mixture is not None
    np.testing.assert_array_equal(mixture.means, [[1, 2, 3], [-4, -5, -6]])
    np.testing.assert_array_equal(mixture.weights, [0.25, 0.75])
    assert priors.choose(None) == ("aggregate", mixture)
    assert priors.choose("standard") == ("standard", None)


def test_a_label_has_its_components(weights: Path) -> None:
    priors = load(weights / "grey")
    assert list(priors.labels) == ["7", "cat"]
    for label, mean in (("7", [-4, -5, -6]), ("cat", [1, 2, 3])):
        for asked in (None, "aggregate"):
            name, part = priors.choose(asked, label)
            assert name == "aggregate"
            assert part is not None
            np.testing.assert_array_equal(part.means, [mean])
            np.testing.assert_array_equal(part.weights, [1.0])


@pytest.mark.parametrize(
    ("model", "prior", "label", "reason"),
    [
        ("grey", None, "8", r"'grey' has no label '8'\. Choose 7, cat\."),
        ("grey", "standard", "7", r"'standard' knows no labels\. Leave out label, or choose prior=aggregate"),
        ("colour", None, "7", r"'colour' knows no labels: .*Leave out label, or fit"),
        ("grey", None, "x" * 1000, f"no label '{'x' * 80}'"),
    ],
)
def test_a_label_that_cannot_be_drawn(weights: Path, model: str, prior: str | None, label: str, reason: str) -> None:
    with pytest.raises(NoSuchLabel, match=reason):
        load(weights / model).choose(prior, label)


def test_the_reason_why_a_model_knows_no_labels(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights / "grey", tmp_path / "grey")
    checkpoint = read(tmp_path / "grey")
    fitted = read_prior(tmp_path / "grey", checkpoint.digest, 3)
    assert fitted is not None
    record = {"labels_left_out": "label 7 has 3 pictures, and each needs 20"}
    write_prior(tmp_path / "grey", fitted.mixture, checkpoint.digest, record)
    with pytest.raises(NoSuchLabel, match=r"'grey' knows no labels: label 7 has 3 pictures, and each needs 20\. Leave out"):
        load(tmp_path / "grey").choose(None, "7")
    for known, reason in (({"labels": "none is fitted, because ..."}, "none is fitted, because ..."), ({"labels": 7}, "")):
        manifest = replace(checkpoint.manifest, data={"choices": known})
        assert why_no_labels(replace(checkpoint, manifest=manifest), None) == reason


def test_other_labels_of_the_same_mixture_are_another_digest(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights / "grey", tmp_path / "grey")
    checkpoint = read(tmp_path / "grey")
    prior = read_prior(tmp_path / "grey", checkpoint.digest, 3)
    assert prior is not None
    assert prior.labels is not None
    write_prior(tmp_path / "grey", prior.mixture, checkpoint.digest, {}, replace(prior.labels, index=torch.tensor([0, 1])))
    assert load(tmp_path / "grey").digests != load(weights / "grey").digests


def test_a_model_without_a_mixture_draws_from_its_own_prior(weights: Path) -> None:
    assert load(weights / "colour").choose(None) == ("standard", None)


@pytest.mark.parametrize(
    ("prior", "reason"),
    [
        ("aggregate", r"fitted prior \(prior=aggregate\); none was fitted .*--fit-prior.*\. Choose standard"),
        ("vamp", "vamp prior; .*--prior vamp"),
    ],
)
def test_a_model_says_which_prior_it_does_not_have(weights: Path, prior: str, reason: str) -> None:
    with pytest.raises(NoSuchPrior, match=f"'colour' has no {reason}"):
        load(weights / "colour").choose(prior)[1]


def test_a_mixture_of_other_weights_is_not_used(tmp_path: Path, weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    models.save(tmp_path / "grey", VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))
    (tmp_path / "grey" / "prior.safetensors").write_bytes((weights / "grey" / "prior.safetensors").read_bytes())
    with pytest.raises(NoSuchPrior, match="was fitted to other weights"):
        load(tmp_path / "grey").choose("aggregate")[1]
    assert "fit it again" in caplog.text


def test_a_vamp_prior_is_the_mixture_of_the_posteriors_of_its_pseudo_inputs(tmp_path: Path) -> None:
    vae = VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]}, prior="vamp", prior_options={"pseudo_inputs": 5}))
    models.save(tmp_path / "vamp", vae)
    priors = load(tmp_path / "vamp")
    assert (priors.own, priors.names) == ("vamp", ["vamp", "standard"])
    mixture = priors.choose("vamp")[1]
    assert mixture is not None
    with torch.no_grad():
        posterior = vae.encode(torch.sigmoid(torch.as_tensor(vae.prior_layer.logits)))
    np.testing.assert_allclose(mixture.weights, np.full(5, 0.2))
    np.testing.assert_allclose(mixture.means, posterior.mu, atol=1e-6)
    np.testing.assert_allclose(mixture.scale, posterior.sigma, atol=1e-6)
    assert priors.choose(None)[0] == "vamp"


def test_a_fitted_mixture_comes_before_a_vamp_prior(tmp_path: Path) -> None:
    models.save(
        tmp_path / "vamp",
        VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]}, prior="vamp", prior_options={"pseudo_inputs": 5})),
    )
    one = GaussianMixture(torch.ones(1), torch.zeros(1, 3), torch.ones(1, 3))
    write_prior(tmp_path / "vamp", one, read(tmp_path / "vamp").digest, {})
    priors = load(tmp_path / "vamp")
    assert (priors.default, priors.own, priors.names) == ("aggregate", "vamp", ["aggregate", "vamp", "standard"])
