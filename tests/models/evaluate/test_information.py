"""Brackets of the mutual information against Gaussians with closed forms, and what cards say of them."""

import math

import pytest
import torch

from models.distributions import DiagonalGaussian
from models.evaluate.diagnostics import RateOfAggregate, rate_of_aggregate
from models.evaluate.information import brackets, card_rows, report_rows, told_apart
from models.mixture import GaussianMixture


def normal(mean: float, sigma: float, dim: int = 1) -> GaussianMixture:
    return GaussianMixture(torch.ones(1).double(), torch.full((1, dim), mean).double(), torch.full((1, dim), sigma).double())


def channel(n: int, s: float, width: float, dim: int) -> tuple[DiagonalGaussian, torch.Tensor]:
    """mu ~ N(0, width^2 - s^2), sigma = s: q(z) = N(0, width^2), and I = log(width / s) nats a dimension."""
    mu = math.sqrt(width**2 - s**2) * torch.randn(n, dim)
    return DiagonalGaussian(mu, torch.full_like(mu, 2 * math.log(s))), torch.randn(n, dim)


def test_the_truth_lies_between_the_bounds_also_where_the_pictures_are_too_few() -> None:
    """8 dimensions of a channel carry 18.4 nats, of which 500 pictures show log 500 = 6.2."""
    s, width, dim, n = 0.05, 0.5, 8, 500
    posterior, eps = channel(n, s, width, dim)
    z = posterior.sample(eps)
    rate = float((posterior.log_prob(z) - normal(0, width, dim).log_prob(z.double())).mean())
    found = brackets(rate_of_aggregate(posterior, eps), n, [rate])
    information, marginal = found["mutual_information"], found["marginal_kl"]
    true = dim * math.log(width / s)
    apart = dim * (0.5 * (width**2 - 1) - math.log(width))
    assert information["at_least"] == pytest.approx(math.log(n), abs=0.1)
    assert information["at_most"] == pytest.approx(true, abs=0.5)
    assert information["limit"] == math.log(n)
    assert marginal["at_least"] == pytest.approx(apart, abs=0.5)
    assert marginal["at_most"] > apart + 10
    ((_, words), _) = card_rows(found)
    assert words == (
        f"at least {information['at_least']:.2f} (saturated: 6.21 is all that so many pictures can show), "
        f"at most {information['at_most']:.2f}"
    )


def test_without_another_density_the_mean_kl_is_the_upper_bound() -> None:
    found = brackets(RateOfAggregate(2.0, 1.5), 1000, [])
    assert found["mutual_information"] == {"at_least": 2.0, "at_most": 3.5, "limit": math.log(1000)}
    assert found["marginal_kl"] == {"at_least": 0, "at_most": 1.5}
    assert "saturated" not in card_rows(found)[0][1]
    assert brackets(RateOfAggregate(2.0, 1.5), 1000, [1.9])["mutual_information"]["at_most"] == 2


def test_a_prior_is_told_from_pictures_as_well_as_two_gaussians_can_be() -> None:
    posterior, eps = channel(20_000, 0.1, 1, 1)
    prior, draws = DiagonalGaussian.standard(torch.zeros(1, 1)), torch.randn(20_000, 1)
    assert told_apart(posterior, eps, prior, draws, normal(1e-9, 1)) == pytest.approx(0.5, abs=0.01)
    moved = DiagonalGaussian(posterior.mu + 2, posterior.logvar)
    right = 0.5 * (1 + math.erf(1 / math.sqrt(2)))  # Phi(half the distance of the means)
    assert told_apart(moved, eps, prior, draws, normal(2, 1)) == pytest.approx(right, abs=0.01)
    far = DiagonalGaussian(posterior.mu + 20, posterior.logvar)
    assert told_apart(far, eps, prior, draws, normal(20, 1)) == 1


def test_coverage_never_stands_alone() -> None:
    metrics = {"prior_coverage": 1.0, "protocol": {"prior_coverage": "a", "told_apart": "b"}}
    assert (card_rows(metrics), report_rows(metrics)) == ([], [])
    both = metrics | {"told_apart": 0.97}
    assert [value for _, value in card_rows(both)] == ["100.0 %", "97.0 % (50 %: by guessing)"]
    assert len(report_rows(both)) == 2


def test_estimates_of_earlier_versions_are_not_shown() -> None:
    """They were about log N, whatever the model."""
    old = {"mutual_information": 9.18, "marginal_kl": 16.62, "prior_coverage": 0.86, "protocol": {}}
    assert (card_rows(old), report_rows(old)) == ([], [])
