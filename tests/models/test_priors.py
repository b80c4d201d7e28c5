"""Priors: densities by torch.distributions, draws, learning, and checkpoints that keep them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from models.checkpoint import CONFIG, CheckpointError, load, read, save
from models.data import Items
from models.distributions import DiagonalGaussian
from models.kinds import KINDS
from models.objective import evidence_lower_bound, importance_weighted_bound
from models.priors import PosteriorMixture, VampPrior
from models.vae import VAE, VAEConfig


def vamp(pseudo_inputs: int = 7) -> VAE:
    return VAE(
        VAEConfig((1, 28, 28), 3, "mlp", {"hidden": [16]}, prior="vamp", prior_options={"pseudo_inputs": pseudo_inputs})
    )


def mixture(components: int = 4, dim: int = 3) -> PosteriorMixture:
    return PosteriorMixture(DiagonalGaussian(2 * torch.randn(components, dim), torch.randn(components, dim)))


def test_density_of_a_mixture() -> None:
    p = mixture()
    parts = Independent(Normal(p.components.mu, p.components.sigma), 1)
    expected = MixtureSameFamily(Categorical(torch.ones(4)), parts)
    for shape in ((6, 3), (2, 5, 3), (3,)):
        z = torch.randn(shape)
        torch.testing.assert_close(p.log_prob(z), expected.log_prob(z))


def test_the_short_form_of_the_kl_is_the_long_one_in_every_shape() -> None:
    posterior = DiagonalGaussian(torch.randn(5, 3), torch.randn(5, 3))
    for shape in ((5, 3), (1, 5, 3), (4, 5, 3)):
        zeros = torch.zeros(shape)
        short, long = (posterior.kl(prior) for prior in (DiagonalGaussian.standard(zeros), DiagonalGaussian(zeros, zeros)))
        assert short.shape == long.shape
        assert torch.equal(short, long)


def test_blocks_do_not_change_a_density(monkeypatch: pytest.MonkeyPatch) -> None:
    p, z = mixture(), torch.randn(11, 3)
    whole = p.log_prob(z)
    monkeypatch.setattr("models.priors.MAX_ELEMENTS", 24)
    torch.testing.assert_close(p.log_prob(z), whole)


def test_draws_of_a_mixture_take_its_components_in_turn() -> None:
    p, eps = mixture(), torch.randn(10, 3)
    z = p.sample(eps)
    for i in range(10):
        torch.testing.assert_close(z[i], p.components.mu[i % 4] + p.components.sigma[i % 4] * eps[i])


def test_a_vamp_prior_is_the_mixture_of_its_pictures_posteriors(digits: Items) -> None:
    vae, x = vamp(), KINDS["picture"].to_x(digits.x[:7])
    assert isinstance(vae.prior_layer, VampPrior)
    vae.prior_layer.start_from(x)
    posterior, z = vae.encode(x.clamp(0.05, 0.95)), torch.randn(5, 3)
    parts = [DiagonalGaussian(m, v).log_prob(z) for m, v in zip(posterior.mu, posterior.logvar, strict=True)]
    expected = torch.logsumexp(torch.stack(parts), 0) - math.log(7)
    torch.testing.assert_close(vae.prior(z).log_prob(z), expected)


def test_the_kl_against_it_is_sampled(digits: Items) -> None:
    vae, x, eps = vamp().eval(), KINDS["picture"].to_x(digits.x[:5]).round(), torch.randn(5, 3)
    posterior = vae.encode(x)
    z = posterior.sample(eps)
    terms = evidence_lower_bound(vae, x, eps)
    torch.testing.assert_close(terms.kl, posterior.log_prob(z) - vae.prior(z).log_prob(z))
    torch.testing.assert_close(terms.elbo, importance_weighted_bound(vae, x, eps[None]).log_prob)


def test_pseudo_inputs_learn(digits: Items) -> None:
    vae, x = vamp(), KINDS["picture"].to_x(digits.x[:8])
    evidence_lower_bound(vae, x, torch.randn(8, 3)).loss().backward()
    assert isinstance(vae.prior_layer, VampPrior)
    assert vae.prior_layer.logits.grad is not None
    assert vae.prior_layer.logits.grad.abs().sum() > 0


def test_a_checkpoint_keeps_it(digits: Items, tmp_path: Path) -> None:
    vae, z = vamp().eval(), torch.randn(5, 3)
    save(tmp_path, vae)
    loaded = load(tmp_path)
    assert loaded.config == vae.config
    assert torch.equal(loaded.prior(z).log_prob(z), vae.prior(z).log_prob(z))
    assert torch.equal(loaded.encode(digits.x[:4]).mu, vae.encode(digits.x[:4]).mu)


def test_a_standard_prior_is_not_written_down(tmp_path: Path) -> None:
    """Checkpoints without other priors stay readable to earlier versions, and their digests what they were."""
    save(tmp_path, VAE(VAEConfig((1, 4, 4), 2, "mlp")))
    assert not {"prior", "prior_options"} & json.loads((tmp_path / CONFIG).read_text())["model"].keys()
    assert read(tmp_path).vae.config.prior == "standard"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": "flow"}, "unknown prior 'flow'; known: standard, vamp"),
        ({"prior": 3}, "the prior 3 must"),
        ({"prior_options": []}, "prior_options must be an object"),
        ({"prior_options": {"pseudo_inputs": 5}}, "prior 'standard'"),
        ({"prior": "vamp", "prior_options": {"pseudo_inputs": 0}}, "pseudo_inputs must be a positive integer"),
        ({"prior": "vamp", "prior_options": {"pseudo_inputs": "5"}}, "pseudo_inputs must be a positive integer"),
        ({"prior": "vamp", "prior_options": {"components": 5}}, "prior 'vamp'"),
        ({"prior": "vamp"}, "missing tensors: prior_layer.logits"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    save(tmp_path, VAE(VAEConfig((1, 4, 4), 2, "mlp")))
    config = json.loads((tmp_path / CONFIG).read_text())
    config["model"] |= changes
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path)
