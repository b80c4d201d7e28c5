"""Sums and means of latents, and the barycenter of posteriors. Pure functions; know nothing of models or requests.

Everything is computed in float64.
"""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def weighted_sum(points: NDArray[np.float32], weights: Doubles) -> Doubles:
    """Return sum_i w_i z_i: points (N, D), weights (N,) -> (D,)."""
    total: Doubles = (weights[:, None] * points.astype(np.float64)).sum(0)
    return total


def mean(points: NDArray[np.float32], weights: Doubles) -> Doubles:
    """Return sum_i w_i z_i / sum_i w_i: points (N, D), weights (N,), at least 0 and not all 0 -> (D,)."""
    return weighted_sum(points, weights / weights.sum())


def wasserstein_barycenter(mu: NDArray[np.float32], sigma: NDArray[np.float32], weights: Doubles) -> tuple[Doubles, Doubles]:
    """Return mu and sigma of the 2-Wasserstein barycenter of diagonal Gaussians: (N, D), (N, D), (N,) -> (D,), (D,).

    The barycenter minimises sum_i w_i W2(N(mu_i, sigma_i^2), .)^2. It is a Gaussian whose mean is the mean of the means, and
    whose covariance S solves S = sum_i w_i (S^1/2 S_i S^1/2)^1/2 (Agueh & Carlier 2011, doi:10.1137/100805741, section 6.3).
    For diagonal S_i this is s^2 = sum_i w_i s s_i in each dimension, so sigma is the mean of the sigmas.
    """
    return mean(mu, weights), mean(sigma, weights)
