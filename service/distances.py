"""Distances between diagonal Gaussians N(mu, diag sigma^2): each from one to many, in float64, smaller is nearer.

Knows nothing of where the Gaussians are kept or how the nearest are found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# (mu (D,), sigma (D,), of many: mu (N, D), sigma (N, D)) -> (N,); the unit is the metric's
Distance = Callable[[Doubles, Doubles, Doubles, Doubles], Doubles]


def l2(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Euclidean distance of the means, not its square: sqrt(sum (mu1 - mu2)^2). In units of the latent space."""
    distance: Doubles = np.sqrt(np.square(others_mu - mu).sum(axis=1))
    return distance


def cosine(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """1 - cos of the angle between the means: 1 - mu1 . mu2 / (|mu1| |mu2|), in [0, 2].

    A mean of length 0 has no direction; it is at distance 1 from everything.
    """
    lengths = np.sqrt(np.square(others_mu).sum(axis=1)) * np.sqrt(np.square(mu).sum())
    products = (others_mu * mu).sum(axis=1)
    cos = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    distance: Doubles = 1 - np.clip(cos, -1, 1)
    return distance


def w2(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """2-Wasserstein distance: sqrt(|mu1 - mu2|^2 + |sigma1 - sigma2|^2), which is L2 on [mu, sigma].

    Dowson & Landau 1982 (The Frechet distance between multivariate normal distributions), for commuting covariances.
    In units of the latent space; sigma = 0 is a point.
    """
    squares = np.square(others_mu - mu).sum(axis=1) + np.square(others_sigma - sigma).sum(axis=1)
    distance: Doubles = np.sqrt(squares)
    return distance


def jeffreys(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Jeffreys divergence KL(1 || 2) + KL(2 || 1), nats (Jeffreys 1946, An invariant form for the prior probability).

    1/2 sum [(s1^2 + d^2) / s2^2 + (s2^2 + d^2) / s1^2 - 2] with d = mu1 - mu2, summed here as
    1/2 sum [((s1^2 - s2^2) / (s1 s2))^2 + d^2 (1 / s1^2 + 1 / s2^2)], which does not cancel for near ones. sigma > 0.
    """
    own, other = np.square(sigma), np.square(others_sigma)
    spread = np.square((own - other) / (sigma * others_sigma))
    divergence: Doubles = 0.5 * (spread + np.square(others_mu - mu) * (1 / own + 1 / other)).sum(axis=1)
    return divergence


def bhattacharyya(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Bhattacharyya distance -ln integral sqrt(p1 p2), nats (Bhattacharyya 1943; Kailath 1967, equation 61).

    1/4 sum (mu1 - mu2)^2 / (s1^2 + s2^2) + 1/2 sum ln((s1^2 + s2^2) / (2 s1 s2)). sigma > 0.
    """
    apart = 0.25 * np.square(others_mu - mu) / (np.square(sigma) + np.square(others_sigma))
    unlike = 0.5 * np.log1p(np.square(sigma - others_sigma) / (2 * sigma * others_sigma))
    distance: Doubles = (apart + unlike).sum(axis=1)
    return distance


def hellinger(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Hellinger distance sqrt(1 - exp(-bhattacharyya)), in [0, 1] (Hellinger 1909; Kailath 1967). sigma > 0."""
    distance: Doubles = np.sqrt(-np.expm1(-bhattacharyya(mu, sigma, others_mu, others_sigma)))
    return distance


def fisher_rao(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Fisher-Rao distance, the length of the geodesic (Costa, Santos & Strapasson 2015, arXiv:1210.2354, section 3.1).

    sqrt(sum 2 arccosh^2(1 + t)) with t = ((mu1 - mu2)^2 / 2 + (s1 - s2)^2) / (2 s1 s2), and arccosh(1 + t) as
    log1p(t + sqrt(t (t + 2))), which keeps its digits for near ones. sigma > 0.
    """
    t = (np.square(others_mu - mu) / 2 + np.square(sigma - others_sigma)) / (2 * sigma * others_sigma)
    distance: Doubles = np.sqrt(2 * np.square(np.log1p(t + np.sqrt(t * (t + 2)))).sum(axis=1))
    return distance


@dataclass(frozen=True)
class Metric:
    """A distance, and whether both Gaussians need a sigma above 0 for it."""

    distance: Distance
    needs_sigma: bool


METRICS: Mapping[str, Metric] = {
    "l2": Metric(l2, needs_sigma=False),
    "cosine": Metric(cosine, needs_sigma=False),
    "w2": Metric(w2, needs_sigma=False),
    "jeffreys": Metric(jeffreys, needs_sigma=True),
    "bhattacharyya": Metric(bhattacharyya, needs_sigma=True),
    "hellinger": Metric(hellinger, needs_sigma=True),
    "fisher_rao": Metric(fisher_rao, needs_sigma=True),
}
