"""Likelihood regret against torch's own Adam, one picture at a time, and on pictures that a shipped model does not know."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import models
from models import regret
from models.data import Items
from models.distributions import DiagonalGaussian
from models.kinds import KINDS
from models.objective import divergence
from models.vae import VAE, VAEConfig

WEIGHTS = Path(models.__file__).parent / "weights"


def small_vae(prior: str = "standard") -> VAE:
    options = {"pseudo_inputs": 4} if prior == "vamp" else {}
    return VAE(VAEConfig((1, 28, 28), 3, "mlp", {"hidden": [16]}, prior=prior, prior_options=options)).requires_grad_(False)


def by_adam(vae: VAE, x: Tensor, eps: Tensor) -> DiagonalGaussian:
    """Optimise the posterior of one picture (1, C, H, W) with torch's optimiser."""
    start = vae.encode(x)
    mu, logvar = start.mu.clone().requires_grad_(), start.logvar.clone().requires_grad_()
    optimiser = torch.optim.Adam([mu, logvar])
    for i, noise in enumerate(eps):
        optimiser.param_groups[0]["lr"] = regret.LEARNING_RATE * (1 - i / regret.STEPS)
        optimiser.zero_grad()
        posterior = DiagonalGaussian(mu, logvar)
        z = posterior.sample(noise[None])
        loss = divergence(posterior, vae.prior(z), z) - vae.decode(z).log_prob(x)
        loss.sum().backward()
        optimiser.step()
    return DiagonalGaussian(mu.detach(), logvar.detach())


@pytest.mark.parametrize("prior", ["standard", "vamp"])
def test_each_picture_is_optimised_as_by_adam_alone(digits: Items, prior: str) -> None:
    vae, x, eps = small_vae(prior), KINDS["picture"].to_x(digits.x[:4]), torch.randn(10, 3)
    posterior, own = vae.encode(x), regret.own_prior(vae)
    state = regret.first_state(posterior.mu, posterior.logvar)
    for count, noise in enumerate(eps, 1):
        state, _ = regret.step(vae, own, x, state, torch.full((4, 1), float(count)), noise.expand(4, -1))
    for i in range(len(x)):
        wanted = by_adam(vae, x[i : i + 1], eps)
        assert torch.allclose(state[i, 0], wanted.mu[0], atol=1e-4)
        assert torch.allclose(state[i, 1], wanted.logvar[0], atol=1e-4)
    assert (state[:, 0] - posterior.mu).abs().max() > 0.1


def test_a_step_works_in_inference_mode_and_keeps_the_bounds_of_logvar(digits: Items) -> None:
    vae, count = small_vae(), torch.ones(2, 1)
    with torch.inference_mode():
        x, eps = KINDS["picture"].to_x(digits.x[:2]), torch.zeros(2, 3)
        state = regret.first_state(torch.zeros(2, 3), torch.full((2, 3), -30.0))
        moved, elbo = regret.step(vae, None, x, state, count, eps)
        posterior = DiagonalGaussian(state[:, 0], state[:, 1])
        z = posterior.sample(eps)
        assert torch.allclose(elbo, vae.decode(z).log_prob(x) - divergence(posterior, vae.prior(z), z))
    assert moved.shape == (2, 6, 3)
    assert moved[:, 1].min() >= -30
    assert torch.isfinite(moved).all()


def test_strange_pictures_have_more_regret_than_digits(digits: Items) -> None:
    vae = models.load(WEIGHTS / "mnist")
    x = KINDS["picture"].to_x(digits.x[:16])
    eps = torch.randn(regret.HELD + regret.STEPS, vae.config.latent_dim)
    own, inverted = (regret.regret(vae, one, eps) for one in (x, 1 - x))
    assert inverted.min() > own.max()
    assert own.mean() > 0
