"""Parts of the KL, coverage and active units: against sums written out, and against Gaussians with closed forms."""

import math

import pytest
import torch

from models.distributions import DiagonalGaussian
from models.evaluate.diagnostics import BLOCK_NUMBERS, active_units, aggregate_log_prob, prior_coverage, rate_of_aggregate


def posterior_of(mu: torch.Tensor, sigma: float) -> DiagonalGaussian:
    return DiagonalGaussian(mu, torch.full_like(mu, 2 * math.log(sigma)))


def test_the_aggregate_posterior_is_the_mean_of_the_densities() -> None:
    posterior = DiagonalGaussian(torch.randn(7, 3), torch.randn(7, 3))
    z = torch.randn(5, 3)
    normal = torch.distributions.Normal(posterior.mu.double(), posterior.sigma.double())
    for row, found in zip(z, aggregate_log_prob(posterior, z), strict=True):
        assert float(found) == pytest.approx(float(normal.log_prob(row.double()).sum(1).exp().mean().log()), rel=1e-6)
    without = aggregate_log_prob(posterior, z, torch.tensor([0, 1, 2, 3, 6]))
    rest = normal.log_prob(z[4].double()).sum(1)[:6]
    assert float(without[4]) == pytest.approx(float(rest.exp().mean().log()), rel=1e-6)


def test_blocks_do_not_show() -> None:
    posterior = DiagonalGaussian(torch.randn(BLOCK_NUMBERS // 20, 2), torch.randn(BLOCK_NUMBERS // 20, 2))
    z = torch.randn(30, 2)
    torch.testing.assert_close(aggregate_log_prob(posterior, z)[25:], aggregate_log_prob(posterior, z[25:]))


class TestRate:
    def test_of_equal_posteriors_nothing_is_known(self) -> None:
        posterior = posterior_of(torch.full((200, 2), 0.7), 0.5)
        parts = rate_of_aggregate(posterior, torch.randn(200, 2))
        assert parts.mutual_information == pytest.approx(0, abs=1e-6)
        assert parts.marginal_kl == pytest.approx(float(posterior.kl(DiagonalGaussian.standard(posterior.mu))[0]), rel=1e-5)

    def test_of_posteriors_far_apart_all_is_known(self) -> None:
        mu = 100.0 * torch.arange(50)[:, None].expand(50, 2)
        assert rate_of_aggregate(posterior_of(mu, 0.1), torch.randn(50, 2)).mutual_information == pytest.approx(math.log(50))

    def test_of_two_pictures_it_is_the_integral(self) -> None:
        """1/2 sum_n int q_n log(q_n / q) by a sum over a fine grid."""
        mu, sigma = torch.tensor([[-0.6], [0.6]]), 0.8
        grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
        q = torch.exp(-0.5 * ((grid - mu.double()) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        exact = float(torch.xlogy(q, q / q.mean(0)).sum(1).mean() * (grid[1] - grid[0]))
        parts = rate_of_aggregate(posterior_of(mu.repeat(2000, 1), sigma), torch.randn(4000, 1))
        assert parts.mutual_information == pytest.approx(exact, abs=0.03)

    def test_of_a_gaussian_channel_it_is_shannon_s(self) -> None:
        """mu ~ N(0, 1 - s^2), sigma = s: I = -log s nats a dimension, and q(z) is the prior."""
        s, n = 0.5, 4000
        mu = math.sqrt(1 - s**2) * torch.randn(n, 2)
        parts = rate_of_aggregate(posterior_of(mu, s), torch.randn(n, 2))
        assert parts.mutual_information == pytest.approx(-2 * math.log(s), abs=0.05)
        assert parts.marginal_kl == pytest.approx(0, abs=0.05)


class TestCoverage:
    def test_of_a_prior_that_is_the_aggregate_posterior(self) -> None:
        mu = math.sqrt(1 - 0.3**2) * torch.randn(3000, 2)
        assert prior_coverage(posterior_of(mu, 0.3), torch.randn(3000, 2), torch.randn(3000, 2)) == pytest.approx(
            0.95, abs=0.02
        )

    def test_of_a_prior_far_from_all_pictures(self) -> None:
        assert prior_coverage(posterior_of(20 + torch.randn(100, 2), 0.3), torch.randn(100, 2), torch.randn(500, 2)) == 0

    def test_of_half_a_prior(self) -> None:
        mu = math.sqrt(1 - 0.1**2) * torch.randn(4000, 1).abs()
        assert prior_coverage(posterior_of(mu, 0.1), torch.randn(4000, 1), torch.randn(4000, 1)) == pytest.approx(
            0.5, abs=0.06
        )


def test_active_units_are_those_whose_mu_varies() -> None:
    mu = torch.randn(5000, 4) * torch.tensor([1.0, 0.2, 0.05, 0.0])
    assert active_units(mu).tolist() == [True, True, False, False]
    at_threshold = torch.tensor([[-0.1], [0.1], [0.0]])  # variance 0.01
    assert active_units(at_threshold * 1.01).tolist() == [True]
    assert active_units(at_threshold * 0.99).tolist() == [False]
