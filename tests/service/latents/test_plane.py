"""Planes, and the marginals of mixtures on them, against the Gaussian density itself."""

import numpy as np
import pytest

from service.latents.density import Components
from service.latents.plane import (
    Plane,
    cell_masses,
    holes,
    marginals_of,
    marginals_of_prior,
    plane_of_dims,
    principal_plane,
)

RNG = np.random.default_rng(1)
MU = (RNG.standard_normal((500, 6)) * np.array([3, 1, 2, 0.5, 0.5, 0.1])).astype(np.float32)
SIGMA = RNG.uniform(0.1, 1, (500, 6)).astype(np.float32)


def test_principal_components_have_one_sign() -> None:
    plane = principal_plane(MU)
    _, _, vectors = np.linalg.svd(MU.astype(np.float64) - MU.mean(axis=0, dtype=np.float64), full_matrices=False)
    for axis, expected in zip(plane.axes, vectors, strict=False):
        assert abs(axis @ expected) == pytest.approx(1, abs=1e-9)
        assert axis[np.abs(axis).argmax()] > 0
    assert plane.explained is not None
    assert 0.5 < sum(plane.explained) < 1
    mirrored = principal_plane(-MU)
    np.testing.assert_allclose(mirrored.axes, plane.axes, atol=1e-9)
    np.testing.assert_allclose(plane.coordinates(MU).mean(axis=0), 0, atol=1e-6)


@pytest.mark.parametrize("mu", [MU[:0], MU[:1], np.ones((9, 6), np.float32)])
def test_planes_of_next_to_nothing(mu: np.ndarray) -> None:
    plane = principal_plane(mu)
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)
    assert plane.explained == (0.0, 0.0)
    assert np.isfinite(plane.coordinates(mu)).all()


@pytest.mark.parametrize("plane", [principal_plane(MU), plane_of_dims(0, 3, 6)])
def test_a_map_integrates_to_one_and_is_the_density(plane: Plane) -> None:
    marginals = marginals_of(Components(MU, SIGMA, 0.2), plane)
    x, y = (np.linspace(low, high, 129) for low, high in marginals.range())
    masses = cell_masses(marginals, x, y)
    assert masses.sum() == pytest.approx(1, abs=0.01)
    fine_x, fine_y = (edges[40] + 0.01 * np.arange(-1, 2) for edges in (x, y))
    density = cell_masses(marginals, fine_x[::2], fine_y[::2])[0, 0] / 0.02**2
    total = 0.0
    for row in range(len(MU)):
        covariance = plane.axes @ np.diag(SIGMA[row].astype(np.float64) ** 2 + 0.2**2) @ plane.axes.T
        apart = np.array([fine_x[1], fine_y[1]]) - plane.coordinates(MU[[row]])[0]
        total += np.exp(-0.5 * apart @ np.linalg.solve(covariance, apart)) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    assert density == pytest.approx(total / len(MU), rel=1e-3)


@pytest.mark.parametrize("sigma", [(0.5, 0.6), (0.2, 1.0), (0.05, 2.0)])
def test_a_correlated_gaussian(sigma: tuple[float, float]) -> None:
    turned = Plane(np.zeros(2), np.array([[1, 1], [1, -1]]) / np.sqrt(2))
    marginals = marginals_of(Components(np.zeros((1, 2), np.float32), np.array([sigma], np.float32), 0.0), turned)
    edges = np.linspace(-6, 6, 601)
    masses = cell_masses(marginals, edges, edges)
    centres = (edges[1:] + edges[:-1]) / 2
    first, second = (centres[None] + centres[:, None]) / np.sqrt(2), (centres[None] - centres[:, None]) / np.sqrt(2)
    exact = np.exp(-0.5 * (np.square(first / sigma[0]) + np.square(second / sigma[1]))) / (2 * np.pi * sigma[0] * sigma[1])
    assert masses.sum() == pytest.approx(1, abs=1e-4 if sigma[1] < 2 else 0.01)
    assert np.abs(masses / 0.02**2 - exact).max() < 0.01 * exact.max()


def test_far_outliers_and_narrow_items_keep_the_mass() -> None:
    mu = MU.copy()
    mu[::50] *= 1e6
    marginals = marginals_of(Components(mu, np.full_like(SIGMA, 1e-6), 0.0), plane_of_dims(0, 1, 6))
    x, y = (np.linspace(low, high, 65) for low, high in marginals.range())
    assert cell_masses(marginals, x, y).sum() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("sigma", [0.1, 1e-30])
@pytest.mark.parametrize("mu", [[0.1 * i for i in range(29)] + [20], [-20] + [0.0] * 29, [7, 20], [20]])
def test_few_items_are_all_on_the_map(mu: list[float], sigma: float) -> None:
    means = np.array([mu, mu], np.float32).T
    marginals = marginals_of(Components(means, np.full_like(means, sigma), 0.0), plane_of_dims(0, 1, 2))
    x, y = (np.linspace(low, high, 65) for low, high in marginals.range())
    assert cell_masses(marginals, x, y).sum() == pytest.approx(1, abs=0.01)


def test_the_prior_on_a_plane_and_its_holes() -> None:
    plane = principal_plane(MU)
    full = np.stack([np.eye(6)])
    for scale in (full, np.ones((1, 6))):
        prior = marginals_of_prior(np.ones(1), np.zeros((1, 6)), scale, plane)
        np.testing.assert_allclose(prior.variance, [[1, 1]])
        np.testing.assert_allclose(prior.covariance, [0], atol=1e-12)
    edges = np.linspace(-4, 4, 65)
    one = marginals_of_prior(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)), plane_of_dims(0, 1, 2))
    masses = cell_masses(one, edges, edges)
    assert not holes(masses, masses).any()
    found = holes(np.zeros_like(masses), masses)
    assert masses[found].sum() == pytest.approx(0.95, abs=0.01)
    half = masses.copy()
    half[:, 32:] /= 20
    assert found[:, 32:].tolist() == holes(half, masses)[:, 32:].tolist()
    assert not holes(half, masses)[:, :32].any()
