"""Nats of pictures: the KL as torch has it, -log p(x given z) as the likelihoods have it, whatever comes at once."""

import numpy as np
import pytest
import torch

from models.distributions import Bernoulli, ContinuousBernoulli, DiagonalGaussian, Gaussian, Likelihood
from service.inference.reconstruction_error import is_density, score_for
from service.observe.drift import WAITING_PICTURES, WAITING_POSTERIORS, Drift, kl


def posteriors(number: int) -> tuple[np.ndarray, DiagonalGaussian]:
    """Rows (N, 3, D) as a lane answers them, and the distributions."""
    generator = torch.Generator().manual_seed(0)
    q = DiagonalGaussian(torch.randn(number, 5, generator=generator), torch.randn(number, 5, generator=generator))
    return torch.stack([q.mu, q.sigma, q.logvar], dim=1).numpy(), q


def test_the_kl_is_that_of_the_distributions() -> None:
    rows, q = posteriors(7)
    np.testing.assert_allclose(kl(rows), q.kl(DiagonalGaussian.standard(q.mu)).numpy(), rtol=1e-5)


@pytest.mark.parametrize("number", [1, WAITING_POSTERIORS - 1, WAITING_POSTERIORS, 2 * WAITING_POSTERIORS + 1])
def test_every_posterior_is_weighed_once(number: int) -> None:
    rows, _ = posteriors(number)
    one_by_one, at_once = Drift(is_density=False), Drift(is_density=False)
    for row in rows:
        one_by_one.encoded([row[None]], 1)
    at_once.encoded([rows[:1], rows[1:]], number)
    found = one_by_one.kl.read()
    assert sum(found.counts) == number
    assert found.counts == at_once.kl.read().counts
    assert found.sum == pytest.approx(float(kl(rows).sum()), rel=1e-5)
    assert sum(one_by_one.nats.read().counts) == 0


GENERATOR = torch.Generator().manual_seed(1)
LOGITS = 3 * torch.randn(6, 2, 4, 3, generator=GENERATOR)
LIKELIHOODS: list[Likelihood] = [
    Bernoulli(LOGITS),
    ContinuousBernoulli(LOGITS),
    ContinuousBernoulli(0.01 * LOGITS),
    Gaussian(torch.sigmoid(LOGITS), torch.tensor(0.1)),
]


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_nats_are_those_of_the_likelihood(likelihood: Likelihood) -> None:
    x = torch.rand(LOGITS.shape, generator=torch.Generator().manual_seed(2))
    score = score_for(likelihood)
    assert score is not None
    means = likelihood.mean.permute(0, 2, 3, 1).contiguous().numpy()
    expected = -likelihood.log_prob(x).numpy()
    np.testing.assert_allclose(score(means, x.numpy()), expected, rtol=1e-4, atol=1e-3)
    assert is_density(likelihood) == (not isinstance(likelihood, Bernoulli))


@pytest.mark.parametrize("likelihood", [Bernoulli(1000 * LOGITS), ContinuousBernoulli(1000 * LOGITS)])
def test_certain_pixels_have_finite_nats(likelihood: Likelihood) -> None:
    score = score_for(likelihood)
    assert score is not None
    x = np.ones(LOGITS.shape, np.float32)
    assert np.isfinite(score(likelihood.mean.permute(0, 2, 3, 1).contiguous().numpy(), x)).all()


def test_bytes_and_floats_are_the_same_pictures_and_each_is_weighed_once() -> None:
    likelihood = LIKELIHOODS[0]
    score = score_for(likelihood)
    assert score is not None
    means = likelihood.mean.permute(0, 2, 3, 1).contiguous().numpy()
    x = np.random.default_rng(0).integers(0, 256, LOGITS.shape, np.uint8)
    drift = Drift(is_density=False)
    for _ in range(WAITING_PICTURES):
        drift.reconstructed(score, means, x)
        drift.reconstructed(score, means, x.astype(np.float32) / 255)
    found = drift.nats.read()
    assert sum(found.counts) == 2 * WAITING_PICTURES * len(x)
    assert found.sum == pytest.approx(
        2 * WAITING_PICTURES * float(score(means, x.astype(np.float32) / np.float32(255)).sum()), rel=1e-4
    )


def test_densities_have_buckets_below_zero() -> None:
    assert Drift(is_density=True).nats.read().bounds[0] < 0 < Drift(is_density=False).nats.read().bounds[0]


def test_around_a_reload_each_picture_is_weighed_by_its_own_model() -> None:
    seen: list[tuple[str, int]] = []

    def score(name: str, means: np.ndarray, x: np.ndarray) -> np.ndarray:
        seen.append((name, len(x)))
        return np.zeros(len(x), np.float32)

    drift, picture = Drift(is_density=False), np.zeros((1, 1, 2, 2), np.float32)
    before, after = (lambda means, x: score("before", means, x)), (lambda means, x: score("after", means, x))
    for one in (before, after, before):
        drift.reconstructed(one, picture, picture)
    assert sum(drift.nats.read().counts) == 3
    assert sorted(seen) == [("after", 1), ("before", 2)]
