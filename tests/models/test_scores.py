"""Tests of the formulae of scores, against torch.distributions and naive loops."""

import numpy as np
import pytest
import torch
from torch import distributions

from models import scores
from models.distributions import Bernoulli, ContinuousBernoulli


@pytest.fixture
def noise() -> np.random.Generator:
    return np.random.default_rng(0)


def test_knn_is_the_distance_to_the_kth_nearest(noise: np.random.Generator) -> None:
    mu, training = noise.normal(size=(20, 7)), noise.normal(size=(50, 7))
    naive = [sorted(np.sqrt(((row - other) ** 2).sum()) for other in training)[4] for row in mu]
    assert np.allclose(scores.knn_distance(mu, training), naive, rtol=1e-12)
    assert np.allclose(scores.knn_distance(training, training, 1), 0)
    assert np.allclose(scores.knn_distance(mu[:1], training[:1], 5), np.linalg.norm(mu[0] - training[0]))


def test_density_is_that_of_a_mixture(noise: np.random.Generator) -> None:
    mu, training = noise.normal(size=(20, 7)) * 5, noise.normal(size=(50, 7))
    sigma, bandwidth = noise.uniform(0.05, 1, size=(50, 7)), 0.3
    components = distributions.Independent(
        distributions.Normal(torch.from_numpy(training), torch.from_numpy(np.sqrt(sigma**2 + bandwidth**2))), 1
    )
    mixture = distributions.MixtureSameFamily(distributions.Categorical(torch.ones(50).double()), components)
    wanted = mixture.log_prob(torch.from_numpy(mu)).numpy()
    assert np.allclose(scores.log_density(mu, training, sigma, bandwidth), wanted, rtol=1e-10)


def test_density_far_away_is_finite(noise: np.random.Generator) -> None:
    far = scores.log_density(np.full((1, 7), 1e4), noise.normal(size=(50, 7)), np.full((50, 7), 0.1), 0.1)
    assert np.isfinite(far).all()


def test_numbers_of_an_item_do_not_depend_on_the_others(noise: np.random.Generator) -> None:
    mu, training = noise.normal(size=(65, 40)), noise.normal(size=(500, 40))
    latents = scores.TrainingLatents(training, np.full((500, 40), 0.2), 0.3)
    x, mean = noise.uniform(size=(65, 1, 28, 28)), noise.uniform(size=(65, 1, 28, 28)).astype(np.float32)
    many = [latents.knn_distance(mu), latents.log_density(mu), scores.unexplained(x, mean)]
    many += [scores.deviance(name, x, mean, 0.1) for name in scores.NEAREST]
    for i in range(65):
        one = slice(i, i + 1)
        alone = [latents.knn_distance(mu[one]), latents.log_density(mu[one]), scores.unexplained(x[one], mean[one])]
        alone += [scores.deviance(name, x[one], mean[one], 0.1) for name in scores.NEAREST]
        assert [float(values[0]) for values in alone] == [float(values[i]) for values in many]


def test_bytes_are_greys(noise: np.random.Generator) -> None:
    x, mean = noise.integers(0, 256, size=(3, 1, 4, 4), dtype=np.uint8), noise.uniform(size=(3, 1, 4, 4))
    naive = [
        sum((a / 255 - b) ** 2 for a, b in zip(one.ravel(), m.ravel(), strict=True)) for one, m in zip(x, mean, strict=True)
    ]
    assert np.allclose(scores.squared_error(x, mean), naive)


def test_unexplained_is_one_minus_r_squared(noise: np.random.Generator) -> None:
    x, mean = noise.uniform(size=(3, 3, 5, 4)), noise.uniform(size=(3, 3, 5, 4))
    naive = [
        ((one - m) ** 2).sum() / sum((channel - channel.mean()) @ (channel - channel.mean()) for channel in one.reshape(3, -1))
        for one, m in zip(x, mean, strict=True)
    ]
    assert np.allclose(scores.unexplained(x, mean), naive)


@pytest.mark.parametrize("grey", [0, 16, 128, 255])
def test_a_picture_of_one_colour_that_is_not_drawn_well_is_unexplained(grey: int) -> None:
    x = np.full((1, 1, 28, 28), grey, np.uint8)
    assert scores.unexplained(x, x / 255 + 0.05)[0] == pytest.approx(784 * 0.05**2)
    assert scores.unexplained(x, (x / 255).astype(np.float32))[0] < 1e-6


def test_likelihoods_are_those_of_the_models(noise: np.random.Generator) -> None:
    x, logits = torch.rand(5, 1, 6, 6).double(), torch.randn(5, 1, 6, 6).double() * 2
    for name, likelihood in (("bernoulli", Bernoulli(logits)), ("continuous_bernoulli", ContinuousBernoulli(logits))):
        found = scores.log_likelihood(name, x.numpy(), likelihood.mean.numpy())
        assert np.allclose(found, likelihood.log_prob(x).numpy(), rtol=1e-6, atol=1e-6)
    found = scores.log_likelihood("gaussian", x.numpy(), logits.numpy(), 0.3)
    assert np.allclose(found, distributions.Normal(logits, 0.3).log_prob(x).flatten(1).sum(1).numpy())


def test_deviance_is_a_divergence(noise: np.random.Generator) -> None:
    x, mean = torch.rand(5, 36).double(), torch.rand(5, 36).double()
    divergence = distributions.kl_divergence(distributions.Bernoulli(x), distributions.Bernoulli(mean)).sum(1).numpy()
    assert np.allclose(scores.deviance("bernoulli", x.numpy(), mean.numpy()), divergence)
    squared = ((x - mean) ** 2).sum(1).numpy()
    assert np.allclose(scores.deviance("gaussian", x.numpy(), mean.numpy(), 0.2), squared / 0.08)


def test_deviance_of_a_continuous_bernoulli_is_a_difference_of_best_fits() -> None:
    x, mean = torch.tensor([[0.2, 0.5, 0.9]]).double(), torch.tensor([[0.4, 0.45, 0.97]]).double()
    grid = torch.linspace(-60, 60, 240_001).double()  # logits in steps of 0.0005
    best, own = 0.0, 0.0
    for grey, wanted in zip(x[0], mean[0], strict=True):
        likelihood = ContinuousBernoulli(grid[:, None])
        nats = likelihood.log_prob(grey.expand(len(grid), 1))
        best += float(nats.max())
        own += float(nats[(likelihood.mean[:, 0] - wanted).abs().argmin()])
    assert scores.deviance("continuous_bernoulli", x.numpy(), mean.numpy())[0] == pytest.approx(best - own, abs=1e-3)


@pytest.mark.parametrize("name", scores.NEAREST)
def test_deviance_is_finite_and_never_negative(name: str) -> None:
    x = np.array([[0.0, 1.0, 0.0, 1.0, 0.5, 0.5]] * 2)
    mean = np.array([[1.0, 0.0, 0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0, 0.5, 0.5]], np.float32)
    far, near = scores.deviance(name, x, mean, 0.1)
    assert np.isfinite(far)
    assert far > 10
    assert near == pytest.approx(0, abs=1e-6)


def test_half_logit_inverts_the_mean() -> None:
    logits = torch.tensor([-2000.0, -500, -30, -2, -0.05, 0, 1e-3, 0.09, 3, 200, 1000]).double()
    found = 2 * scores.half_logit(ContinuousBernoulli(logits).mean.numpy())
    assert np.allclose(found, logits.numpy(), rtol=1e-6, atol=1e-6)


def test_an_unknown_likelihood_and_a_missing_sigma_are_refused() -> None:
    one = np.zeros((1, 2))
    with pytest.raises(ValueError, match="unknown likelihood 'poisson'; known: bernoulli"):
        scores.deviance("poisson", one, one)
    with pytest.raises(ValueError, match="needs its sigma"):
        scores.deviance("gaussian", one, one)


def test_importance_bound(noise: np.random.Generator) -> None:
    log_weights = noise.normal(size=(4, 30)) * 3 - 500
    bound, effective = scores.importance_bound(log_weights)
    weights = np.exp(log_weights + 500)
    assert np.allclose(bound, np.log(weights.mean(1)) - 500)
    assert np.allclose(effective, weights.sum(1) ** 2 / (weights**2).sum(1))
    assert np.allclose(scores.importance_bound(np.full((1, 8), -3.0)), [[-3], [8]])
    assert np.allclose(scores.mean_bound(log_weights), [sum(row) / 30 for row in log_weights])
    assert (scores.mean_bound(log_weights) < bound).all()


def test_log_normal(noise: np.random.Generator) -> None:
    z, mu, sigma = noise.normal(size=(3, 4, 5)), noise.normal(size=5), noise.uniform(0.1, 2, size=5)
    wanted = distributions.Normal(torch.from_numpy(mu), torch.from_numpy(sigma)).log_prob(torch.from_numpy(z)).sum(-1).numpy()
    assert np.allclose(scores.log_normal(z, mu, sigma), wanted)
    assert np.allclose(scores.log_normal(z), distributions.Normal(0, 1).log_prob(torch.from_numpy(z)).sum(-1).numpy())


def test_p_values_count_the_held_out_values_at_least_as_large() -> None:
    held_out = np.array([1.0, 2.0, 2.0, 4.0])
    assert scores.conformal_p(held_out, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).tolist() == [1.0, 1.0, 0.8, 0.4, 0.4, 0.2]


def test_bounds_are_negated() -> None:
    assert scores.unusual("iwae", [-100.0]).tolist() == [100.0]
    assert scores.unusual("knn", [3.0]).tolist() == [3.0]
