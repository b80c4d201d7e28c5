"""Formulae that say how unusual a picture is, and bounds of its likelihood: pure functions of arrays, in float64.

Each number of an item depends on that item alone, to the last bit. Knows nothing of networks, files or HTTP.
"""

import math
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# The unit of each score. A larger value is more unusual, except for the likelihood bounds.
UNITS = {
    "knn": "distance in latent space",
    "density": "nats",
    "reconstruction": "squared error summed over pixels",
    "unexplained": "squared error over the squared deviation from the mean colour",
    "deviance": "nats",
    "elbo": "nats",
    "iwae": "nats",
    "regret": "nats",
    "surprise": "nats",  # of `models.imputation`, for tables
    "nll": "nats",  # -log p(x given z) at z = mu, for tables, drawings and texts
}
BOUNDS = ("elbo", "iwae")  # reported as likelihoods, and negated where they are ranked
NEIGHBOR = 5
SAMPLES = 16  # draws of z for `elbo` and `iwae`, unless somebody asks for more; calibrations use them
# How near the mean of a pixel may be to 0 and 1. A float32 cannot come nearer to 1 than 2^-24, and a picture with 8 bits says
# no more than 1/510, half of a step: the density of a continuous Bernoulli has no upper bound beyond it.
NEAREST = {"bernoulli": 2.0**-24, "continuous_bernoulli": 1 / 510, "gaussian": 0.0}
LOG_2PI = math.log(2 * math.pi)
# A sum of D products of float32 numbers errs by less than this, times D, times the sum of the squares of both vectors.
MARGIN = 2.0**-21


class TrainingLatents:
    """Posteriors of training items, prepared for `knn` and `density`: mu and sigma (M, D), and the bandwidth h."""

    def __init__(self, mu: ArrayLike, sigma: ArrayLike, bandwidth: float) -> None:
        self.mu, self.sigma, self.bandwidth = np.asarray(mu, np.float64), np.asarray(sigma, np.float64), bandwidth

    @cached_property
    def _rough(self) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """Return mu as (D, M) and its squared lengths (M,), both float32, and the largest of these."""
        squared = _sums(np.square(self.mu))
        return np.ascontiguousarray(self.mu.T, np.float32), squared.astype(np.float32), float(squared.max())

    @cached_property
    def _gaussians(self) -> tuple[Array, Array]:
        """Return (2 D, M) and (M,): log N(z; mu_m, sigma_m^2 + h^2) is (z^2, z) times the first, plus the second."""
        precision = 1 / (np.square(self.sigma) + self.bandwidth**2)  # (M, D)
        matrix = np.concatenate([-0.5 * precision, precision * self.mu], axis=1)
        constant = 0.5 * (np.log(precision) - LOG_2PI - precision * np.square(self.mu)).sum(1)
        return np.ascontiguousarray(matrix.T), constant - math.log(len(self.mu))

    def knn_distance(self, mu: ArrayLike, k: int = NEIGHBOR) -> Array:
        """Return the Euclidean distance of mu to the k-th nearest training mu: (N, D) -> (N,). With fewer, the farthest."""
        rows, place = np.asarray(mu, np.float64), min(k, len(self.mu)) - 1
        rough, squared, longest = self._rough
        # The same two arrays for all items: new memory takes longer than the sums.
        found, (squares, ordered) = np.empty(len(rows)), np.empty((2, len(self.mu)), np.float32)
        for i, z in enumerate(rows):  # One product of a matrix with a vector per item, so that no item changes another.
            np.matmul((-2 * z).astype(np.float32), rough, out=squares)
            squares += squared
            np.copyto(ordered, squares)
            ordered.partition(place)
            # Float32 finds candidates, in half of the time: the sums err by less than the margin. `~` keeps NaN, too.
            margin = len(z) * MARGIN * (longest + float(z @ z))
            near = self.mu[np.flatnonzero(~(squares > ordered[place] + margin))]
            found[i] = math.sqrt(np.partition(np.square(near - z).sum(1), place)[place])
        return found

    def log_density(self, mu: ArrayLike) -> Array:
        """Return log(1/M sum_m N(mu; mu_m, diag(sigma_m^2 + h^2))) in nats: (N, D) -> (N,)."""
        matrix, constant = self._gaussians
        rows, each = np.asarray(mu, np.float64), np.empty(len(self.mu))
        found = np.empty(len(rows))
        for i, z in enumerate(rows):
            np.matmul(np.concatenate([np.square(z), z]), matrix, out=each)
            each += constant
            most = each.max()
            each -= most
            found[i] = most + math.log(np.exp(each, out=each).sum())
        return found


def knn_distance(mu: ArrayLike, training_mu: ArrayLike, k: int = NEIGHBOR) -> Array:
    """Return the distance of mu (N, D) to the k-th nearest of training_mu (M, D): (N,)."""
    return TrainingLatents(training_mu, training_mu, 0).knn_distance(mu, k)


def log_density(mu: ArrayLike, training_mu: ArrayLike, training_sigma: ArrayLike, bandwidth: float) -> Array:
    """Return the log density of mu (N, D) under the widened training posteriors, (M, D) each: (N,) nats."""
    return TrainingLatents(training_mu, training_sigma, bandwidth).log_density(mu)


def squared_error(x: ArrayLike, mean: ArrayLike) -> Array:
    """Return the squared error summed over pixels: two arrays (N, ...) with values in [0, 1] -> (N,)."""
    return _sums(np.square(_flat(x) - _flat(mean)))


def unexplained(x: ArrayLike, mean: ArrayLike) -> Array:
    """Return the squared error over the squared deviation of x from its mean colour: two arrays (N, C, H, W) -> (N,).

    The share of a picture's variance that its reconstruction does not explain, 1 - R^2. A picture of one colour, which is easy
    to draw, says nothing that could be explained, and gets a large value. The deviation is 1 at least (one pixel that is black
    instead of white), so that rounding errors do not matter.
    """
    pixels = _pixels(x)
    deviation = pixels - pixels.mean(-1, keepdims=True)  # (N, C, H W)
    return squared_error(x, mean) / np.maximum(_sums(_sums(np.square(deviation))), 1)


def log_likelihood(likelihood: str, x: ArrayLike, mean: ArrayLike, sigma: float | None = None) -> Array:
    """Return log p(x given the mean of each pixel) in nats, summed over pixels: two arrays (N, ...) -> (N,).

    `likelihood` is "bernoulli", "continuous_bernoulli" or "gaussian", which alone has the standard deviation `sigma`. The
    means are kept away from 0 and 1, see NEAREST. Raises ValueError for another name.
    """
    if likelihood not in NEAREST:
        raise ValueError(f"unknown likelihood {likelihood!r}; known: {', '.join(NEAREST)}")
    flat, most = _flat(x), 1 - NEAREST[likelihood]
    p = np.clip(_flat(mean), NEAREST[likelihood], most)
    if likelihood == "bernoulli":
        return _sums(flat * np.log(p) + (1 - flat) * np.log1p(-p))
    if likelihood == "continuous_bernoulli":
        half = half_logit(p)
        return _sums(half * (2 * flat - 1) - _log_sinh_ratio(half))
    if sigma is None:
        raise ValueError("the Gaussian likelihood needs its sigma")
    error = squared_error(x, mean) / (2 * sigma**2)
    return np.asarray(-error - flat.shape[1] * (math.log(sigma) + 0.5 * LOG_2PI), np.float64)


def deviance(likelihood: str, x: ArrayLike, mean: ArrayLike, sigma: float | None = None) -> Array:
    """Return log p(x given x as its own mean) - log p(x given the mean) in nats, at least 0: two arrays (N, ...) -> (N,).

    Half of the deviance of generalised linear models (McCullagh & Nelder 1989, section 2.3). For the Bernoulli it is the sum
    of KL(Bernoulli(x) || Bernoulli(mean)), for the Gaussian the squared error over 2 sigma^2. It leaves out the entropy of the
    greys themselves, because of which every picture with many greys would be unusual.
    """
    if likelihood == "gaussian" and sigma is not None:
        return squared_error(x, mean) / (2 * sigma**2)
    return log_likelihood(likelihood, x, x, sigma) - log_likelihood(likelihood, x, mean, sigma)


def log_normal(z: ArrayLike, mu: ArrayLike = 0.0, sigma: ArrayLike = 1.0) -> Array:
    """Return log N(z; mu, diag(sigma^2)) in nats: (..., D) -> (...,). The default is the prior N(0, I)."""
    z, mu, sigma = (np.asarray(one, np.float64) for one in (z, mu, sigma))
    each = -0.5 * np.square((z - mu) / sigma) - np.log(sigma) - 0.5 * LOG_2PI
    return _sums(each)


def mean_bound(log_weights: ArrayLike) -> Array:
    """Return 1/K sum_k log w_k in nats, an ELBO whose noise falls with K: (N, K), see `importance_bound` -> (N,)."""
    each = np.asarray(log_weights, np.float64)
    return np.asarray(_sums(each) / each.shape[1], np.float64)


def importance_bound(log_weights: ArrayLike) -> tuple[Array, Array]:
    """Return log 1/K sum_k w_k in nats, and its effective sample size 1 / sum of normalised w^2: (N, K) -> (N,) each.

    log w = log p(x given z) + log p(z) - log q(z given x) for z from q (Burda et al. 2016, arXiv:1509.00519, eq. 8). It is
    a lower bound of log p(x); with K = 1 it is the ELBO of that draw. Below about 5 effective samples the bound is loose.
    """
    each = np.asarray(log_weights, np.float64)
    most = each.max(1, keepdims=True)
    weights = np.exp(each - most)
    total = weights.sum(1)
    return most[:, 0] + np.log(total / each.shape[1]), np.square(total) / np.square(weights).sum(1)


def unusual(name: str, values: ArrayLike) -> Array:
    """Return the values of a score so that larger means more unusual: the likelihood bounds are negated."""
    found = np.asarray(values, np.float64)
    return -found if name in BOUNDS else found


def conformal_p(held_out: Array, values: ArrayLike) -> Array:
    """Return (1 + the number of held-out values that are at least as large) / (n + 1): sorted (n,), (N,) -> (N,).

    If an item comes from where the n held-out items do, P(p <= a) <= a for every a (Vovk et al. 2005, Algorithmic Learning
    in a Random World, section 2.2).
    """
    count = len(held_out) - np.searchsorted(held_out, np.asarray(values, np.float64), side="left")
    return np.asarray((1 + count) / (len(held_out) + 1))


def half_logit(mean: Array) -> Array:
    """Return half of the logit l of a continuous Bernoulli with this mean, in (0, 1).

    mean = (1 + L(l / 2)) / 2 with Langevin's function L(y) = coth(y) - 1/y. Newton's method starts from Cohen's approximation
    of its inverse (1991, Rheologica Acta 30).
    """
    target = 2 * np.asarray(mean, np.float64) - 1
    y = target * (3 - target**2) / (1 - target**2)
    for _ in range(5):
        near, size = np.abs(y) < 0.03, np.maximum(np.abs(y), 0.03)
        decay = np.exp(-2 * size)
        value = np.where(near, y / 3 - y**3 / 45, np.sign(y) * ((1 + decay) / (1 - decay) - 1 / size))
        slope = np.where(near, 1 / 3 - y**2 / 15, 1 / size**2 - 4 * decay / (1 - decay) ** 2)
        y = y - (value - target) / slope
    return y


def _log_sinh_ratio(y: Array) -> Array:
    """Return log(sinh(y) / y), the log normaliser of a continuous Bernoulli."""
    near, size = np.abs(y) < 0.03, np.maximum(np.abs(y), 0.03)
    return np.where(near, y**2 / 6 - y**4 / 180, size + np.log(-np.expm1(-2 * size) / (2 * size)))


def _sums(values: Array) -> Array:
    """Return the sums over the last axis. numpy's stubs have no type for them."""
    return np.asarray(values.sum(-1), np.float64)


def _pixels(x: ArrayLike) -> Array:
    """Return (N, C, P) in float64, from (N, C, ...); bytes become values in [0, 1]."""
    values = np.asarray(x)
    pixels = values.reshape(*values.shape[:2], -1).astype(np.float64)
    return pixels / 255 if values.dtype == np.uint8 else pixels


def _flat(x: ArrayLike) -> Array:
    """Return (N, P) in float64; bytes become values in [0, 1]."""
    return _pixels(x).reshape(len(np.asarray(x)), -1)
