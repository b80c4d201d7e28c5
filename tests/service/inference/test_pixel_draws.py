"""Pixels drawn from p(x given z): their distribution, and that the noise of an item is its own."""

import numpy as np
import pytest
import torch

from models.distributions import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood, build_likelihood
from models.kinds.picture import Picture
from service.inference.pixel_draws import draw_for
from service.latents import noise as seeds

MEANS = np.linspace(0.02, 0.98, 49, dtype=np.float32).reshape(1, 7, 7, 1)
# Continuous Bernoullis have the mean 1/2 where the logit is 0; there the series is used.
LOGITS = torch.linspace(-6, 6, 49).reshape(1, 1, 7, 7)


@pytest.mark.parametrize(
    "likelihood",
    [Bernoulli(torch.zeros(1)), Gaussian(torch.zeros(1), torch.tensor(0.01)), ContinuousBernoulli(torch.zeros(1))],
    ids=lambda likelihood: type(likelihood).__name__,
)
def test_an_item_is_the_same_alone_and_among_others(likelihood: Likelihood) -> None:
    means = np.random.default_rng(0).random((5, 4, 3, 3), np.float32)
    draw = draw_for(likelihood)
    many = draw(means, 7)
    assert (many.dtype.name, many.shape) == ("float32", means.shape)
    for count in (1, 3):
        np.testing.assert_array_equal(draw(means[:count], 7), many[:count])
    same = draw(np.repeat(means[:1], 5, 0), 7)
    assert len(np.unique(same.reshape(5, -1), axis=0)) == 5
    assert not np.array_equal(draw(means, 8), many)


def test_bernoulli_pixels_are_0_or_1_with_the_mean_as_probability() -> None:
    drawn = draw_for(Bernoulli(torch.zeros(1)))(np.repeat(MEANS, 4000, 0), 1)
    assert set(np.unique(drawn).tolist()) == {0, 1}
    error = np.sqrt(MEANS[0] * (1 - MEANS[0]) / 4000)
    assert (np.abs(drawn.mean(0) - MEANS[0]) < 4.5 * error).all()
    ends = np.array([0, 1], np.float32).reshape(1, 1, 2, 1)
    assert draw_for(Bernoulli(torch.zeros(1)))(np.repeat(ends, 100, 0), 1).reshape(100, 2).tolist() == [[0, 1]] * 100


def test_gaussian_pixels_are_the_mean_plus_noise_and_stay_in_range() -> None:
    draw = draw_for(Gaussian(torch.zeros(1), torch.tensor(0.25)))
    drawn = draw(np.full((1, 100, 100, 1), 0.5, np.float32), 3)
    inside = drawn[(drawn > 0) & (drawn < 1)]
    assert (drawn.min(), drawn.max()) == (0, 1)
    assert abs(np.mean(drawn == 0) - 0.02275) < 0.006  # Phi(-2)
    assert abs(inside.std() - 0.25 * np.sqrt(0.7737)) < 0.006  # the variance of a normal cut off at two sigmas
    words = np.random.Philox(key=np.array([3, 0], np.uint64), counter=[0, 0, 0, 1]).random_raw(10_000)
    eps = seeds.inverse_normal_cdf(seeds._uniform(words)).reshape(1, 100, 100, 1)
    np.testing.assert_allclose(drawn, (0.5 + 0.25 * eps).clip(0, 1), rtol=1e-6)


def test_continuous_bernoulli_pixels_have_its_distribution() -> None:
    """By its CDF: F of the draws is uniform, and its mean and variance are those of a uniform number."""
    likelihood = ContinuousBernoulli(LOGITS)
    means = likelihood.mean.permute(0, 2, 3, 1).numpy()
    drawn = draw_for(likelihood)(np.repeat(means, 2000, 0), 5).astype(np.float64)
    assert ((drawn >= 0) & (drawn <= 1)).all()
    logits = LOGITS.permute(0, 2, 3, 1).double().numpy()
    near = np.abs(logits) < 1e-3
    safe = np.where(near, 1, logits)
    uniform = np.where(near, drawn, np.expm1(safe * drawn) / np.expm1(safe))
    assert (np.abs(uniform.mean(0) - 1 / 2) < 4.5 * np.sqrt(1 / 12 / 2000)).all()
    assert (np.abs(uniform.var(0) - 1 / 12) < 4.5 * np.sqrt(1 / 180 / 2000)).all()
    np.testing.assert_allclose(drawn.mean(0), means[0], atol=0.03)


def test_pixels_and_latents_of_a_seed_share_no_noise() -> None:
    pixels = seeds.pixel_uniform(7, 2, 40)
    assert np.array_equal(pixels, seeds.pixel_uniform(7, 2, 80)[:40])
    latents = seeds._uniform(seeds._words(7, 3, 80, 0))
    assert not np.isin(pixels, latents).any()


@pytest.mark.parametrize("name", sorted(Picture.likelihoods))
def test_every_likelihood_that_a_model_of_pictures_may_have_can_be_drawn_from(name: str) -> None:
    layer = build_likelihood(name, {}).eval()
    draw_for(layer(torch.zeros(1, 1, 2, 2)))


def test_another_likelihood_is_refused() -> None:
    with pytest.raises(TypeError, match="draw pixels from object"):
        draw_for(object())  # type: ignore[arg-type]
