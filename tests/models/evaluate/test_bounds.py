"""Bounds of many pictures: those of the objective, block by block, and under a mixture as well."""

import math

import torch

from models.data import Items
from models.evaluate.bounds import likelihood_bounds
from models.kinds import KINDS
from models.mixture import GaussianMixture
from models.objective import evidence_lower_bound, importance_weighted_bound
from models.vae import VAE, VAEConfig


def small_vae() -> VAE:
    return VAE(VAEConfig((1, 28, 28), 2, "mlp", {"hidden": [16]})).eval()


@torch.no_grad()
def test_bounds_of_many_pictures_keep_their_order(digits: Items) -> None:
    vae, x = small_vae(), KINDS["picture"].to_x(digits.x[:100]).round()
    bounds = likelihood_bounds(vae, x, 3, torch.Generator().manual_seed(0))
    noise = torch.Generator().manual_seed(0)
    eps = torch.cat([torch.randn(3, rows, 2, generator=noise) for rows in (64, 36)], 1)
    expected = importance_weighted_bound(vae, x, eps)
    torch.testing.assert_close(bounds["iwae"].float(), expected.log_prob)
    torch.testing.assert_close(bounds["ess"].float(), expected.ess)
    torch.testing.assert_close(bounds["elbo"].float(), evidence_lower_bound(vae, x, eps[0]).elbo)
    assert bounds["kl_per_dim"].shape == (100, 2)
    assert bounds.keys() == {"iwae", "ess", "elbo", "log_likelihood", "kl", "kl_per_dim"}


@torch.no_grad()
def test_a_mixture_that_is_the_prior_gains_nothing(digits: Items) -> None:
    vae, x = small_vae(), KINDS["picture"].to_x(digits.x[:80]).round()
    standard = GaussianMixture(torch.tensor([0.25, 0.75]), torch.zeros(2, 2), torch.ones(2, 2))
    bounds = likelihood_bounds(vae, x, 50, torch.Generator().manual_seed(0), standard)
    torch.testing.assert_close(bounds["mixture_iwae"], bounds["iwae"])
    torch.testing.assert_close(bounds["mixture_ess"], bounds["ess"], rtol=1e-4, atol=1e-4)
    # the mean over draws of log q - log p, of which the closed form is the expectation
    assert abs(float(bounds["mixture_kl"].mean() - bounds["kl_per_dim"].sum(1).mean())) < 0.05


@torch.no_grad()
def test_the_bound_under_a_mixture_is_the_direct_sum(digits: Items) -> None:
    vae, x = small_vae(), KINDS["picture"].to_x(digits.x[:5]).round()
    mixture = GaussianMixture(
        torch.tensor([0.4, 0.6]), torch.tensor([[0.5, 0.0], [-1.0, 2.0]]), 0.7 * torch.eye(2).repeat(2, 1, 1)
    )
    bounds = likelihood_bounds(vae, x, 20, torch.Generator().manual_seed(0), mixture)
    eps = torch.randn(20, 5, 2, generator=torch.Generator().manual_seed(0))
    posterior = vae.encode(x)
    for n in range(5):
        weights = []
        for k in range(20):
            z = posterior.sample(eps[k])
            log_p = vae.decode(z).log_prob(x)[n] + mixture.log_prob(z)[n]
            weights.append(float(log_p - posterior.log_prob(z)[n]))
        direct = torch.tensor(weights, dtype=torch.float64).logsumexp(0) - math.log(20)
        torch.testing.assert_close(bounds["mixture_iwae"][n], direct, rtol=1e-5, atol=1e-4)
