"""Bounds against hand computation, Monte Carlo, and marginal likelihoods by quadrature."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import Items
from models.kinds import KINDS
from models.objective import Elbo, evidence_lower_bound, importance_weighted_bound
from models.vae import VAE, VAEConfig

LIKELIHOODS = ["bernoulli", "continuous_bernoulli", "gaussian"]


def digit_vae() -> VAE:
    return VAE(VAEConfig((1, 28, 28), 3, "mlp", {"hidden": [16]})).eval()


def toy_vae(dim: int, likelihood: str = "bernoulli") -> VAE:
    """Few pixels, few latents, and a decoder that bends: its marginal likelihood can be integrated numerically."""
    options = {"sigma": 0.5} if likelihood == "gaussian" else {}
    vae = VAE(VAEConfig((1, 2, 2), dim, "mlp", {"hidden": [6], "activation": "tanh"}, likelihood, options))
    with torch.no_grad():
        for name, parameter in vae.net.named_parameters():
            parameter.mul_(2 if name.startswith("decoder") else 1)
    return vae.double().eval()


def toy_pictures(rows: int = 5) -> Tensor:
    return torch.randint(0, 2, (rows, 1, 2, 2)).double()


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.double)


def log_marginal(vae: VAE, x: Tensor) -> Tensor:
    """log p(x) = log of the integral of p(x given z) N(z; 0, I) by Gauss-Hermite quadrature in every dimension."""
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(80))
    dim = vae.config.latent_dim
    z = torch.cartesian_prod(*[nodes] * dim).view(-1, dim)
    log_weight = torch.cartesian_prod(*[torch.log(weights / math.sqrt(2 * math.pi))] * dim).view(-1, dim).sum(1)
    p = vae.decode(z)
    return torch.stack([torch.logsumexp(log_weight + p.log_prob(row.expand(len(z), 1, 2, 2)), 0) for row in x])


@torch.no_grad()
def monte_carlo_elbo(vae: VAE, x: Tensor, eps: Tensor) -> Tensor:
    """log p(x, z) - log q(z given x) at one z: what the ELBO is the expectation of."""
    posterior = vae.encode(x)
    z = posterior.sample(eps)
    return vae.decode(z).log_prob(x) + vae.prior(z).log_prob(z) - posterior.log_prob(z)


def test_elbo_by_hand(digits: Items) -> None:
    vae, x, eps = digit_vae(), KINDS["picture"].to_x(digits.x[:4]).round(), torch.randn(4, 3)
    with torch.no_grad():
        terms = evidence_lower_bound(vae, x, eps)
        mu, logvar = (t.double().numpy() for t in vae.net.encode(x))
        z = mu + np.exp(logvar / 2) * eps.numpy()
        probability = torch.sigmoid(vae.net.decode(torch.from_numpy(z).float())).double().numpy()
    pixels = x.numpy()
    log_likelihood = (pixels * np.log(probability) + (1 - pixels) * np.log(1 - probability)).sum((1, 2, 3))
    kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(1)
    np.testing.assert_allclose(terms.log_likelihood, log_likelihood, rtol=1e-5)
    np.testing.assert_allclose(terms.kl, kl, rtol=1e-4)
    np.testing.assert_allclose(terms.elbo, log_likelihood - kl, rtol=1e-5)
    assert float(terms.loss(0.25)) == pytest.approx((-log_likelihood + 0.25 * kl).mean(), rel=1e-5)


def test_beta_weighs_the_loss_and_never_the_elbo() -> None:
    terms = Elbo(torch.tensor([-10.0, -20.0]), torch.tensor([2.0, 4.0]))
    assert terms.elbo.tolist() == [-12, -24]
    assert [terms.loss(beta).item() for beta in (0.0, 0.5, 1.0, 4.0)] == [15, 16.5, 18, 27]
    assert terms.loss() == -terms.elbo.mean()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@torch.no_grad()
def test_monte_carlo_and_closed_form_agree_in_expectation(likelihood: str) -> None:
    vae, x = toy_vae(2, likelihood), toy_pictures(1).expand(20_000, 1, 2, 2)
    eps = draw(20_000, 2)
    difference = monte_carlo_elbo(vae, x, eps) - evidence_lower_bound(vae, x, eps).elbo
    assert difference.std() > 0.01
    assert difference.mean().abs() < 5 * difference.std() / 20_000**0.5


@torch.no_grad()
def test_one_sample_is_the_elbo(digits: Items) -> None:
    vae, x, eps = digit_vae(), KINDS["picture"].to_x(digits.x[:7]).round(), torch.randn(7, 3)
    bound = importance_weighted_bound(vae, x, eps[None])
    torch.testing.assert_close(bound.log_prob, monte_carlo_elbo(vae, x, eps))
    torch.testing.assert_close(bound.ess, torch.ones(7))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("dim", [1, 2])
@torch.no_grad()
def test_many_samples_find_the_marginal_likelihood(dim: int, likelihood: str) -> None:
    vae, x = toy_vae(dim, likelihood), toy_pictures()
    bound = importance_weighted_bound(vae, x, draw(20_000, len(x), dim))
    standard_error = (1 / bound.ess).sqrt()  # of the mean weight, relative: and so of its logarithm
    assert (standard_error < 0.05).all()
    assert ((bound.log_prob - log_marginal(vae, x)).abs() < 5 * standard_error).all()


@torch.no_grad()
def test_more_samples_are_tighter_and_stay_below() -> None:
    vae, x = toy_vae(2), toy_pictures()
    repeated = x.repeat(2000, 1, 1, 1)
    bounds = [
        importance_weighted_bound(vae, repeated, draw(k, len(repeated), 2)).log_prob.view(2000, -1).mean(0)
        for k in (1, 4, 16, 64)
    ]
    for looser, tighter in zip(bounds, [*bounds[1:], log_marginal(vae, x)], strict=True):
        assert (looser < tighter).all()


@torch.no_grad()
def test_effective_sample_size_is_between_one_and_all() -> None:
    vae, x = toy_vae(2), toy_pictures(50)
    ess = importance_weighted_bound(vae, x, draw(32, 50, 2)).ess
    assert (ess >= 1 - 1e-9).all()
    assert (ess <= 32 + 1e-9).all()
    assert ess.std() > 0


@pytest.mark.parametrize("pixels", [4, 3 * 72 * 72])
@torch.no_grad()
def test_equal_weights_all_count(pixels: int) -> None:
    """Posterior = prior and a decoder that ignores z: also where the log likelihood is large in single precision."""
    vae = VAE(VAEConfig((1, pixels, 1), 2, "mlp", {"hidden": []}, "gaussian", {"sigma": 1 / 255})).eval()
    for parameter in vae.parameters():
        parameter.zero_()
    bound = importance_weighted_bound(vae, torch.full((3, 1, pixels, 1), 0.5), torch.randn(10, 3, 2))
    torch.testing.assert_close(bound.ess, torch.full((3,), 10.0), rtol=1e-4, atol=0)


@torch.no_grad()
def test_one_good_sample_counts_alone() -> None:
    vae = toy_vae(1, "gaussian")
    vae.likelihood.sigma.fill_(1e-3)  # type: ignore[operator]
    ess = importance_weighted_bound(vae, torch.rand(3, 1, 2, 2).double(), draw(8, 3, 1)).ess
    torch.testing.assert_close(ess, torch.ones(3).double(), atol=0.1, rtol=0)


@pytest.mark.parametrize("max_rows", [1, 5, 14, 15, 1000])
@torch.no_grad()
def test_blocks_do_not_change_the_result(max_rows: int, digits: Items) -> None:
    vae, x, eps = digit_vae(), KINDS["picture"].to_x(digits.x[:7]).round(), torch.randn(9, 7, 3)
    whole = importance_weighted_bound(vae, x, eps)
    split = importance_weighted_bound(vae, x, eps, max_rows)
    torch.testing.assert_close(split.log_prob, whole.log_prob)
    torch.testing.assert_close(split.ess, whole.ess, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_rows_keep_their_places(digits: Items) -> None:
    vae, x, eps = digit_vae(), KINDS["picture"].to_x(digits.x[:7]).round(), torch.randn(9, 7, 3)
    together = importance_weighted_bound(vae, x, eps)
    for i in range(7):
        alone = importance_weighted_bound(vae, x[i : i + 1], eps[:, i : i + 1])
        torch.testing.assert_close(alone.log_prob[0], together.log_prob[i])


@torch.no_grad()
def test_no_rows_give_no_bounds(digits: Items) -> None:
    bound = importance_weighted_bound(digit_vae(), KINDS["picture"].to_x(digits.x[:0]), torch.randn(4, 0, 3))
    assert bound.log_prob.shape == bound.ess.shape == (0,)
