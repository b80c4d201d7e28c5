"""Distances between diagonal Gaussians N(mu, diag sigma^2): each from one to many, in float64, smaller is nearer.

Searches order by a metric's rank, which grows with its distance and still differs where distances no longer do: a Hellinger
distance is exactly 1.0 in float64 for most pairs of posteriors of 20 dimensions. For all finite float32 Gaussians with sigma
above 0, no rank is NaN and none overflows. Knows nothing of where the Gaussians are kept or how the nearest are found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# (mu (D,), sigma (D,), other mu (N, D), other sigma (N, D)) -> ranks (N,)
Rank = Callable[[Doubles, Doubles, Doubles, Doubles], Doubles]


def _sum(terms: Doubles) -> Doubles:
    """Sum over the dimensions, (N, D) -> (N,). Equal rows have equal sums, however many rows there are."""
    # The order in which numpy adds depends on the memory layout, which indexing by dimensions changes.
    total: Doubles = np.ascontiguousarray(terms).sum(axis=1)
    return total


def squared_l2(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Squared Euclidean distance of the means: sum (mu1 - mu2)^2. Its root is in units of the latent space."""
    return _sum(np.square(others_mu - mu))


def squared_tangent(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Return tan^2 of half the angle between the means, in [0, inf]. It is precise near 0 and near 180 degrees.

    A mean of length 0 has no direction; its angle to everything is 90 degrees.

    1 - cos loses all digits there, so the sine is computed from the part of the other mean that is orthogonal to mu. Let p
    be the largest dimension of mu. v = mu_p x - x_p mu has no dimension p, so it is never close to the direction of mu, and
    the products of float32 numbers are exact in float64: each v_i is right to the last digit, and v is 0 exactly when the
    means are parallel. Without its part along mu, v has the length |mu_p| |x| sin.
    """
    square, squares = np.square(mu).sum(), _sum(np.square(others_mu))
    if not square:
        return np.ones(len(others_mu))
    largest = int(np.abs(mu).argmax())
    beside = others_mu * mu[largest] - others_mu[:, largest, None] * mu
    beside -= (_sum(beside * mu) / square)[:, None] * mu
    unit = squares > 0
    scale = np.where(unit, squares, 1.0)
    sine2 = _sum(np.square(beside)) / (mu[largest] * mu[largest] * scale)
    cosine = _sum(others_mu * mu) / np.sqrt(square * scale)
    one_more = np.square(1 + np.abs(cosine))
    with np.errstate(divide="ignore"):  # a mean in the opposite direction has an infinite tangent
        tangent2 = np.where(cosine < 0, one_more / sine2, sine2 / one_more)
    return np.where(unit, tangent2, 1.0)


def one_less_cosine(tangent2: Doubles) -> Doubles:
    """Return 1 - cos of an angle, in [0, 2], from t = tan^2 of its half: 2 / (1 + 1/t). Every step keeps the order."""
    with np.errstate(divide="ignore"):
        distance: Doubles = 2 / (1 + 1 / tangent2)
    return distance


def squared_w2(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles, sigma_weight: float = 1.0) -> Doubles:
    """Squared 2-Wasserstein distance, |mu1 - mu2|^2 + w^2 |sigma1 - sigma2|^2, which is squared L2 on [mu, w sigma].

    Dowson & Landau 1982 (The Frechet distance between multivariate normal distributions), for commuting covariances: theirs
    has w = 1. Its root is in units of the latent space; sigma = 0 is a point.
    """
    return _sum(np.square(others_mu - mu)) + sigma_weight**2 * _sum(np.square(others_sigma - sigma))


def jeffreys(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Jeffreys divergence KL(1 || 2) + KL(2 || 1), nats (Jeffreys 1946, An invariant form for the prior probability).

    1/2 sum [(s1^2 + d^2) / s2^2 + (s2^2 + d^2) / s1^2 - 2] with d = mu1 - mu2, summed here as
    1/2 sum [((s1^2 - s2^2) / (s1 s2))^2 + d^2 (1 / s1^2 + 1 / s2^2)], which loses no digits for near Gaussians. sigma > 0.
    """
    own, other = np.square(sigma), np.square(others_sigma)
    spread = np.square((own - other) / (sigma * others_sigma))
    return 0.5 * _sum(spread + np.square(others_mu - mu) * (1 / own + 1 / other))


def bhattacharyya(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Bhattacharyya distance -ln integral sqrt(p1 p2), nats (Bhattacharyya 1943; Kailath 1967, equation 61).

    1/4 sum (mu1 - mu2)^2 / (s1^2 + s2^2) + 1/2 sum ln((s1^2 + s2^2) / (2 s1 s2)). sigma > 0.
    """
    apart = 0.25 * np.square(others_mu - mu) / (np.square(sigma) + np.square(others_sigma))
    unlike = 0.5 * np.log1p(np.square(sigma - others_sigma) / (2 * sigma * others_sigma))
    return _sum(apart + unlike)


def hellinger_of(distances: Doubles) -> Doubles:
    """Hellinger distance sqrt(1 - exp(-b)), in [0, 1], from Bhattacharyya distances b (Hellinger 1909; Kailath 1967)."""
    hellinger: Doubles = np.sqrt(-np.expm1(-distances))
    return hellinger


def fisher_rao(mu: Doubles, sigma: Doubles, others_mu: Doubles, others_sigma: Doubles) -> Doubles:
    """Fisher-Rao distance, the length of the geodesic (Costa, Santos & Strapasson 2015, arXiv:1210.2354, section 3.1).

    sqrt(sum 2 arccosh^2(1 + t)) with t = ((mu1 - mu2)^2 / 2 + (s1 - s2)^2) / (2 s1 s2), and arccosh(1 + t) as
    log1p(t + sqrt(t (t + 2))), which loses no digits for near Gaussians. sigma > 0.
    """
    t = (np.square(others_mu - mu) / 2 + np.square(sigma - others_sigma)) / (2 * sigma * others_sigma)
    distance: Doubles = np.sqrt(2 * _sum(np.square(np.log1p(t + np.sqrt(t * (t + 2))))))
    return distance


@dataclass(frozen=True)
class DistanceMetric:
    """A distance, as the rank that orders by it and the distance of a rank."""

    rank: Rank  # orders as the distance does, also where distances round to the same number
    needs_sigma: bool  # both Gaussians must have a sigma above 0
    of_rank: Callable[[Doubles], Doubles] = np.positive  # rank -> distance, elementwise, keeps the order; here: the same


METRICS: Mapping[str, DistanceMetric] = {
    "l2": DistanceMetric(squared_l2, needs_sigma=False, of_rank=np.sqrt),
    "cosine": DistanceMetric(squared_tangent, needs_sigma=False, of_rank=one_less_cosine),
    "w2": DistanceMetric(squared_w2, needs_sigma=False, of_rank=np.sqrt),
    "jeffreys": DistanceMetric(jeffreys, needs_sigma=True),
    "bhattacharyya": DistanceMetric(bhattacharyya, needs_sigma=True),
    "hellinger": DistanceMetric(bhattacharyya, needs_sigma=True, of_rank=hellinger_of),
    "fisher_rao": DistanceMetric(fisher_rao, needs_sigma=True),
}

# The largest sigma_weight: more would make mu irrelevant, and squares could overflow float32.
MAX_SIGMA_WEIGHT = 1000.0


def distance_metric(name: str, sigma_weight: float = 1.0) -> DistanceMetric:
    """Return a metric by its name. `sigma_weight` is the w of w2; the others have no such weight and ignore it."""
    metric = METRICS[name]
    return replace(metric, rank=partial(squared_w2, sigma_weight=sigma_weight)) if name == "w2" else metric
