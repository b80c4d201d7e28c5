"""Computes how far decoded distributions p(x given z) are apart, from the means that the decoder returns.

Knows nothing of lanes or requests.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.distributions import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
from service.inference.reconstruction_error import LEAST_MEAN, continuous_logits

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Numbers of a block of rows.
BLOCK = 1 << 18

# means (N, P) -> the natural parameters that belong to them, float64 (N, P)
Natural = Callable[[Floats], Doubles]


def natural_for(likelihood: Likelihood) -> Natural:
    """Return the function from means to natural parameters for likelihoods of this kind. Raises TypeError for another kind."""
    if isinstance(likelihood, Bernoulli):
        return _logits
    if isinstance(likelihood, Gaussian):
        precision = 1 / float(likelihood.sigma) ** 2
        return lambda means: means.astype(np.float64) * precision
    if isinstance(likelihood, ContinuousBernoulli):
        return continuous_logits()
    raise TypeError(f"no natural parameters of {type(likelihood).__name__}")


def _logits(means: Floats) -> Doubles:
    clamped = np.clip(means.astype(np.float64), LEAST_MEAN, 1 - LEAST_MEAN)
    return np.asarray(np.log(clamped) - np.log1p(-clamped))


def lengths(natural: Natural, first: Floats, second: Floats) -> Doubles:
    """Return sqrt(KL(p || q) + KL(q || p)) of pairs of decoded distributions, means (N, P) -> (N,).

    In an exponential family the symmetric KL is the sum over pixels of (mean_p - mean_q) (natural_p - natural_q). Its root is
    the length of a short step in the Fisher metric (Arvanitidis et al. 2022, arXiv:2106.05367).
    """
    found, size = np.empty(len(first)), max(1, BLOCK // max(1, first.shape[1]))
    for start in range(0, len(first), size):  # so that the float64 copies stay small
        p, q = first[start : start + size], second[start : start + size]
        found[start : start + size] = ((p.astype(np.float64) - q) * (natural(p) - natural(q))).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(found, 0)))
