"""Sums and means of latents, and barycenters of Gaussians, against independent computations."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import minimize

from service.latents.combinations import mean, wasserstein_barycenter, weighted_sum

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(5, 4)).astype(np.float32)
SIGMA = RNG.uniform(0.05, 2, (5, 4)).astype(np.float32)
WEIGHTS = np.array([1.0, 0.5, 2, 0, 3])


def test_an_analogy_is_a_sum() -> None:
    a, b, c = POINTS[:3].astype(np.float64)
    np.testing.assert_allclose(weighted_sum(POINTS[:3], np.array([1.0, -1, 1])), a - b + c, rtol=1e-12)


def test_sums_are_computed_in_float64() -> None:
    large = np.array([[1e4], [1e-4], [1e4]], np.float32)
    assert weighted_sum(large, np.array([1.0, 1, -1]))[0] == pytest.approx(float(np.float32(1e-4)), rel=1e-7)


def test_a_mean_does_not_depend_on_the_size_of_the_weights() -> None:
    np.testing.assert_allclose(mean(POINTS, WEIGHTS), np.average(POINTS.astype(np.float64), 0, WEIGHTS), rtol=1e-12)
    np.testing.assert_allclose(mean(POINTS, 7 * WEIGHTS), mean(POINTS, WEIGHTS), rtol=1e-12)


def test_the_barycenter_has_the_least_sum_of_squared_distances() -> None:
    """W2^2 between Gaussians is |m1 - m2|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2); it is minimised over full covariances."""
    dim, covariances = 2, [np.diag(np.square(sigma[:2].astype(np.float64))) for sigma in SIGMA]
    share = WEIGHTS / WEIGHTS.sum()

    def cost(flat: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        center, root = flat[:dim], flat[dim:].reshape(dim, dim)
        s = root @ root.T + 1e-12 * np.eye(dim)
        total = 0.0
        for weight, mu, other in zip(share, POINTS[:, :2].astype(np.float64), covariances, strict=True):
            half = sqrtm(other)
            total += weight * (np.square(center - mu).sum() + np.trace(s + other - 2 * np.real(sqrtm(half @ s @ half))))
        return float(total)

    start = np.concatenate([np.zeros(dim), (np.eye(dim) + 0.1).ravel()])
    found = minimize(cost, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-12}).x
    mu, sigma = wasserstein_barycenter(POINTS[:, :2], SIGMA[:, :2], WEIGHTS)
    np.testing.assert_allclose(mu, found[:dim], atol=1e-4)
    root = found[dim:].reshape(dim, dim)
    np.testing.assert_allclose(np.diag(np.square(sigma)), root @ root.T, atol=1e-3)
