"""A plane through latent space, and the exact marginals of Gaussian mixtures on it. Pure functions, float64.

The marginal of N(mu, diag s^2) under z -> A (z - o) is N(A (mu - o), A diag(s^2) A^T). Knows nothing of collections or models.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.latents.density import BLOCK, Components, Doubles, Floats

# Classes of the strength of a correlation. Stronger ones count as the last.
STRENGTHS = (0.0, 0.3, 0.6, 0.9, 0.99, 0.999, 0.9999)
# Nodes of a sum over a normal number: up to REACH deviations, STEP sqrt(1 - strength) apart, where the trapezoidal rule has an
# error of 2 exp(-2 (pi / STEP)^2), 2e-5.
REACH, STEP = 4.5, 1.3
NEARLY_NONE = 1e-9
# The range of an axis leaves out so many of the items on each side, and the tails of the others beyond so many deviations.
SHARE_OUTSIDE, DEVIATIONS = 0.001, 3.5
# Share of the prior's mass that lies where the prior is high, and how much lower the data must be there for a hole.
HIGH_SHARE, HOLE_RATIO = 0.95, 10.0


@dataclass(frozen=True, slots=True)
class Plane:
    """Coordinates axes (z - origin): two of the dimensions, or the first two principal components."""

    origin: Doubles  # (D,)
    axes: Doubles  # (2, D), orthonormal
    explained: tuple[float, float] | None = None  # shares of the variance of the means, for principal components

    def coordinates(self, mu: Floats) -> Doubles:
        """Return the coordinates of latents, (N, D) -> (N, 2). A row does not depend on the others."""
        apart = mu.astype(np.float64) - self.origin
        return np.stack([np.einsum("nd,d->n", apart, axis) for axis in self.axes], axis=1)


@dataclass(frozen=True, slots=True)
class Marginals:
    """N Gaussians in a plane with weights."""

    mean: Doubles  # (N, 2)
    variance: Doubles  # (N, 2)
    covariance: Doubles  # (N,)
    weights: Doubles  # (N,), their sum is 1

    def __getitem__(self, rows: slice) -> "Marginals":
        return Marginals(self.mean[rows], self.variance[rows], self.covariance[rows], self.weights[rows])

    def range(self) -> Doubles:
        """Return (lowest, highest) of both axes, (2, 2): nearly all of the mass lies between."""
        # An item whose spread vanishes beside its mean lies inside, too, and both ends are those of items, not between two.
        spread = np.maximum(DEVIATIONS * np.sqrt(self.variance), np.spacing(np.abs(self.mean)))
        low = np.quantile(self.mean - spread, SHARE_OUTSIDE, axis=0, method="lower")
        high = np.quantile(self.mean + spread, 1 - SHARE_OUTSIDE, axis=0, method="higher")
        return np.stack([low, high], axis=1)


def plane_of_dims(first: int, second: int, dim: int) -> Plane:
    """Return the plane of two dimensions."""
    return Plane(np.zeros(dim), np.eye(dim)[[first, second]])


def principal_plane(mu: Floats) -> Plane:
    """Return the plane of the first two principal components of means (N, D). The largest entry of each axis is positive."""
    dim = mu.shape[1]
    if not len(mu):
        return Plane(np.zeros(dim), np.eye(dim)[:2], (0.0, 0.0))
    origin = mu.mean(axis=0, dtype=np.float64)
    total = np.zeros((dim, dim))
    size = max(1, BLOCK // dim)
    for start in range(0, len(mu), size):
        apart = mu[start : start + size].astype(np.float64) - origin
        total += apart.T @ apart
    values, vectors = np.linalg.eigh(total / len(mu))
    axes = vectors.T[::-1][:2].copy()
    for axis in axes:
        axis *= math.copysign(1.0, axis[np.abs(axis).argmax()])
    variance = np.maximum(values, 0)
    shares = variance[::-1][:2] / variance.sum() if variance.sum() > 0 else np.zeros(2)
    return Plane(origin, axes, (float(shares[0]), float(shares[1])))


def marginals_of(components: Components, plane: Plane) -> Marginals:
    """Return the marginals of a mixture of posteriors."""
    squares = np.square(components.sigma.astype(np.float64)) + components.bandwidth**2
    variance = np.einsum("nd,ad->na", squares, np.square(plane.axes))
    covariance = np.einsum("nd,d->n", squares, plane.axes[0] * plane.axes[1])
    count = len(components)
    return Marginals(plane.coordinates(components.mu), variance, covariance, np.full(count, 1 / max(1, count)))


def marginals_of_prior(weights: Doubles, means: Doubles, scale: Doubles, plane: Plane) -> Marginals:
    """Return the marginals of sum_k weights_k N(means_k, scale_k scale_k^T); scale is (K, D, D), or (K, D) deviations."""
    full = scale if scale.ndim == 3 else np.stack([np.diag(one) for one in scale])
    factors = np.einsum("ad,kde->kae", plane.axes, full)  # (K, 2, D)
    covariance = np.einsum("kad,kbd->kab", factors, factors)
    variance = np.stack([covariance[:, 0, 0], covariance[:, 1, 1]], axis=1)
    return Marginals((means - plane.origin) @ plane.axes.T, variance, covariance[:, 0, 1], weights)


def cell_masses(marginals: Marginals, x: Doubles, y: Doubles) -> Doubles:
    """Return the mass of a mixture in each cell between edges x (X + 1,) and y (Y + 1,): (Y, X).

    A Gaussian of correlation r is one with the variances v (1 - |r|) and no correlation, moved along a line by a normal
    number, over which the trapezoidal rule takes the mean. Without a correlation the masses are exact.
    """
    masses = np.zeros((len(y) - 1, len(x) - 1))
    deviations = np.sqrt(marginals.variance)
    correlation = np.clip(marginals.covariance / deviations.prod(axis=1), -STRENGTHS[-1], STRENGTHS[-1])
    strength = np.abs(correlation)
    classes = np.searchsorted(STRENGTHS, np.where(strength < NEARLY_NONE, 0, strength))
    for place in np.unique(classes).tolist():
        rows = np.flatnonzero(classes == place)
        along = deviations[rows] * np.sqrt(strength[rows])[:, None]
        along[:, 1] *= np.sign(correlation[rows])
        width = deviations[rows] * np.sqrt(1 - strength[rows])[:, None]
        for node, share in _nodes(STRENGTHS[place]):
            mean = marginals.mean[rows] + node * along
            across = _masses(x, mean[:, 0], width[:, 0])
            up = _masses(y, mean[:, 1], width[:, 1]) * (share * marginals.weights[rows])[:, None]
            masses += up.T @ across
    return masses


def _nodes(strength: float) -> list[tuple[float, float]]:
    """Return (node, share) of a normal number, whose shares add up to 1."""
    if not strength:
        return [(0.0, 1.0)]
    step = STEP * math.sqrt(1 - strength)
    count = math.ceil(REACH / step)
    nodes = step * np.arange(-count, count + 1)
    shares = np.exp(-np.square(nodes) / 2)
    return list(zip(nodes.tolist(), (shares / shares.sum()).tolist(), strict=True))


def _masses(edges: Doubles, mean: Doubles, width: Doubles) -> Doubles:
    """Return the mass of N(mean, width^2) between each two edges, (n, cells)."""
    from scipy.special import ndtr

    found: Doubles = np.diff(ndtr((edges - mean[:, None]) / width[:, None]), axis=1)
    return found


def holes(data: Doubles, prior: Doubles) -> NDArray[np.bool_]:
    """Return the cells (Y, X) where the prior is high and the data are low, given the masses of both.

    The prior is high in the fewest cells that have HIGH_SHARE of its mass on the map; the data are low where their mass is
    less than the prior's divided by HOLE_RATIO.
    """
    ordered = np.sort(prior, axis=None)[::-1]
    total = ordered.sum()
    place = int(np.searchsorted(np.cumsum(ordered), HIGH_SHARE * total))
    least = ordered[min(place, len(ordered) - 1)]
    found: NDArray[np.bool_] = (prior >= least) & (prior > 0) & (data * HOLE_RATIO < prior)
    return found
