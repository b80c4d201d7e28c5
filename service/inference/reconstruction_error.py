"""Computes the reconstruction error -log p(x given z) of pictures from the means that the decoder returns.

Knows nothing of lanes or requests.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.distributions import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood

Floats = NDArray[np.float32]

# (means (N, H, W, C), x (N, C, H, W), both in [0, 1]) -> nats (N,)
Score = Callable[[Floats, Floats], Floats]

# Means are clamped to [LEAST_MEAN, 1 - LEAST_MEAN]: one that was rounded to 0 or 1 in float32 has lost its exact logit.
LEAST_MEAN = 2.0**-24
# Grid for finding the logit of a continuous Bernoulli by its mean: dense near 0, and up to where means round to 0 or 1.
CONTINUOUS_LOGITS = torch.sinh(torch.linspace(-16.5, 16.5, 4097, dtype=torch.float64))


def score_for(likelihood: Likelihood) -> Score | None:
    """Return a function that computes -log p(x given z) for likelihoods of this kind, or None if the mean is not enough."""
    if isinstance(likelihood, Gaussian):
        sigma = likelihood.sigma.detach().cpu()
        return lambda means, x: _score(Gaussian(_planes(means), sigma), x)
    if isinstance(likelihood, Bernoulli):
        return lambda means, x: _score(Bernoulli(torch.logit(_planes(means), LEAST_MEAN)), x)
    if isinstance(likelihood, ContinuousBernoulli):
        logits_of = continuous_logits()

        def score(means: Floats, x: Floats) -> Floats:
            found = logits_of(_planes(means).numpy()).astype(np.float32)
            return _score(ContinuousBernoulli(torch.from_numpy(found)), x)

        return score
    return None


def continuous_logits() -> Callable[[Floats], NDArray[np.float64]]:
    """Return a function that finds the logits of a continuous Bernoulli by its means."""
    logits, known = CONTINUOUS_LOGITS.numpy(), ContinuousBernoulli(CONTINUOUS_LOGITS).mean.numpy()
    return lambda means: np.interp(means, known, logits)


def is_density(likelihood: Likelihood) -> bool:
    """Return whether the likelihood is a density, so that its nats may be negative."""
    return not isinstance(likelihood, Bernoulli)


def _planes(means: Floats) -> Tensor:
    return torch.from_numpy(means).permute(0, 3, 1, 2)


def _score(likelihood: Likelihood, x: Floats) -> Floats:
    with torch.inference_mode():
        nats: Floats = -likelihood.log_prob(torch.from_numpy(x)).numpy()
    return nats
