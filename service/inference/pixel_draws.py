"""Draws pixels x from p(x given z), computed from the means that the decoder returns and the noise of a seed.

Each item is drawn alone, so that its pixels do not depend on the others. Knows nothing of lanes or requests.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.distributions import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
from service.inference.reconstruction_error import continuous_logits
from service.latents import noise as seeds

Floats = NDArray[np.float32]
Uniform = NDArray[np.float64]

# (means (N, H, W, C), seed) -> x (N, H, W, C), both in [0, 1]
Draw = Callable[[Floats, int], Floats]

# Nearer to 0 than this, the inverse CDF of a continuous Bernoulli is 0 / 0, and its Taylor series is used.
SMALL_LOGIT = 1e-3


def draw_for(likelihood: Likelihood) -> Draw:
    """Return a function that draws pixels from likelihoods of this kind: Bernoulli 0 or 1, Gaussian clipped to [0, 1].

    Raises TypeError for another kind.
    """
    if isinstance(likelihood, Bernoulli):
        return _each(lambda mean, uniform: uniform < mean)
    if isinstance(likelihood, Gaussian):
        sigma = float(likelihood.sigma)
        return _each(lambda mean, uniform: np.clip(mean + sigma * seeds.inverse_normal_cdf(uniform), 0, 1))
    if isinstance(likelihood, ContinuousBernoulli):
        logits_of = continuous_logits()
        return _each(lambda mean, uniform: _continuous(logits_of(mean), uniform))
    raise TypeError(f"no way to draw pixels from {type(likelihood).__name__}")


def _each(draw: Callable[[Floats, Uniform], NDArray[np.generic]]) -> Draw:
    """Return a function that draws one item after the other: (means (P,), uniform (P,)) -> x (P,)."""

    def drawn(means: Floats, seed: int) -> Floats:
        x = np.empty_like(means)
        for item, mean in enumerate(means):
            flat = mean.ravel()
            x[item] = draw(flat, seeds.pixel_uniform(seed, item, len(flat))).reshape(mean.shape)
        return x

    return drawn


def _continuous(logits: Uniform, uniform: Uniform) -> Uniform:
    """Return the inverse of F(x) = (exp(l x) - 1) / (exp(l) - 1). All exponents are negative, so nothing overflows."""
    size = np.maximum(np.abs(logits), SMALL_LOGIT)
    inner = -np.log1p(np.where(logits > 0, 1 - uniform, uniform) * np.expm1(-size)) / size
    series = uniform + logits * uniform * (1 - uniform) / 2
    far: Uniform = np.where(logits > 0, 1 - inner, inner)
    return np.where(np.abs(logits) < SMALL_LOGIT, series, far)
