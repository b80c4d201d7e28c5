"""Paths between two latents, and draws from a mixture: their formulas, and what becomes of odd ends."""

from collections.abc import Callable
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from service.latents import noise as seeds
from service.latents.interpolation import METHODS, grid_between, path, path_through
from service.latents.mixture import Mixture

Floats = NDArray[np.float32]


def ends(seed: int = 0, dim: int = 20) -> tuple[Floats, Floats]:
    start, end = np.random.default_rng(seed).standard_normal((2, dim), np.float32)
    return start, end


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [2, 3, 17])
def test_both_ends_are_included_exactly(method: str, steps: int) -> None:
    start, end = ends()
    z = path(start, end, steps, method)
    assert z.dtype == np.float32
    assert z.shape == (steps, 20)
    np.testing.assert_array_equal(z[[0, -1]], [start, end])


@pytest.mark.parametrize("method", METHODS)
def test_the_way_back_is_the_way_there(method: str) -> None:
    start, end = ends()
    np.testing.assert_allclose(path(end, start, 9, method)[::-1], path(start, end, 9, method), rtol=1e-6, atol=1e-7)


def linear_at(start: Floats, end: Floats, t: float) -> list[float]:
    return [a + t * (b - a) for a, b in zip(start.tolist(), end.tolist(), strict=True)]


def slerp_at(start: Floats, end: Floats, t: float) -> list[float]:
    """By turning: in the plane of both ends, angle and scale of each part by hand."""
    a, b = start.astype(np.float64), end.astype(np.float64)
    u = a / np.linalg.norm(a)
    across = b - (b @ u) * u
    omega = np.arctan2(np.linalg.norm(across), b @ u)
    v = across / np.linalg.norm(across)
    along_a = u * np.linalg.norm(a)
    along_b = (np.cos(omega) * u + np.sin(omega) * v) * np.linalg.norm(b)
    point: list[float] = ((np.sin(omega - t * omega) * along_a + np.sin(t * omega) * along_b) / np.sin(omega)).tolist()
    return point


def matched_at(start: Floats, end: Floats, t: float) -> list[float]:
    return [x / (t * t + (1 - t) * (1 - t)) ** 0.5 for x in linear_at(start, end, t)]


@pytest.mark.parametrize(("method", "at"), [("linear", linear_at), ("slerp", slerp_at), ("matched", matched_at)])
@pytest.mark.parametrize("seed", range(3))
def test_frames_lie_evenly_on_the_formula(method: str, at: Callable[[Floats, Floats, float], list[float]], seed: int) -> None:
    start, end = ends(seed)
    expected = [at(start, end, i / 10) for i in range(11)]
    np.testing.assert_allclose(path(start, end, 11, method), expected, rtol=1e-6, atol=1e-6)


def test_slerp_between_ends_of_equal_length_keeps_that_length() -> None:
    start, end = (2.5 * v / np.linalg.norm(v) for v in ends())
    z = path(start, end, 21, "slerp").astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 2.5, rtol=1e-6)
    turns = [a @ b for a, b in pairwise(z)]  # equal angles between neighbours
    np.testing.assert_allclose(turns, turns[0], rtol=1e-5)


def test_matched_keeps_the_variance_of_the_prior_and_linear_does_not() -> None:
    start, end = np.random.default_rng(5).standard_normal((2, 200_000), np.float32)
    tolerance = 5 * np.sqrt(2 / 200_000)
    np.testing.assert_allclose(path(start, end, 7, "matched").var(axis=1), 1, atol=tolerance)
    assert abs(path(start, end, 3, "linear")[1].var() - 0.5) < tolerance


# --- ends that have no angle between them


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ([0, 0], [0, 0]),
        ([0, 0], [1, 2]),
        ([1, 2], [0, 0]),
        ([1, 2], [1, 2]),
        ([1, 2], [3, 6]),
        ([1, 2], [-1, -2]),
        ([1e4, 0], [1e4, 1e-4]),
        ([1e-30, 0], [0, 1e-30]),
    ],
    ids=["zeros", "from zero", "to zero", "the same", "parallel", "antiparallel", "nearly the same", "tiny"],
)
def test_degenerate_ends_give_a_finite_path(method: str, start: list[float], end: list[float]) -> None:
    a, b = np.array(start, np.float32), np.array(end, np.float32)
    z = path(a, b, 5, method)
    assert np.isfinite(z).all()
    np.testing.assert_array_equal(z[[0, -1]], [a, b])


@pytest.mark.parametrize("end", [[0, 0], [1, 2], [3, 6], [-1, -2]])
def test_slerp_without_an_angle_is_the_straight_line(end: list[float]) -> None:
    a, b = np.array([1, 2], np.float32), np.array(end, np.float32)
    np.testing.assert_array_equal(path(a, b, 5, "slerp"), path(a, b, 5, "linear"))


def test_slerp_is_continuous_near_the_straight_line() -> None:
    a = np.array([1, 0], np.float32)
    for angle in (1e-5, 1e-6, 1e-7):
        b = np.array([np.cos(angle), np.sin(angle)], np.float32)
        np.testing.assert_allclose(path(a, b, 5, "slerp"), path(a, b, 5, "linear"), atol=1e-6)


def test_an_unknown_method_is_a_defect_of_the_caller() -> None:
    with pytest.raises(KeyError):
        path(*ends(), 3, "cubic")


# --- draws from a mixture

MIXTURE = Mixture(
    np.array([0.2, 0.5, 0.3]),
    np.array([[0.0, 3.0], [-4.0, 0.0], [5.0, -2.0]]),
    np.array([[[1.0, 0.0], [0.5, 0.3]], [[0.2, 0.0], [-0.1, 2.0]], [[0.7, 0.0], [0.0, 0.7]]]),
)


def draws(seed: int, n: int, temperature: float = 1.0, mixture: Mixture = MIXTURE) -> Floats:
    return mixture.draw(*seeds.normal_and_uniform(seed, n, mixture.means.shape[1]), temperature)


def test_a_draw_is_the_formula() -> None:
    eps, uniform = seeds.normal_and_uniform(7, 50, 2)
    np.testing.assert_array_equal(eps, seeds.standard_normal(7, 50, 2))
    np.testing.assert_array_equal(uniform, seeds._uniform(seeds._words(7, 50, 3, 0))[:, 2])
    z = MIXTURE.draw(eps, uniform, 0.5)
    assert z.dtype == np.float32
    for row, noise, u in zip(z, eps.astype(np.float64), uniform, strict=True):
        k = 0 if u < 0.2 else 1 if u < 0.7 else 2
        np.testing.assert_allclose(row, MIXTURE.means[k] + 0.5 * MIXTURE.scale[k] @ noise, rtol=1e-6, atol=1e-6)


def test_a_draw_depends_on_seed_and_item_alone() -> None:
    many = draws(3, 200)
    np.testing.assert_array_equal(draws(3, 200), many)
    np.testing.assert_array_equal(draws(3, 7), many[:7])
    assert not np.array_equal(draws(4, 200), many)


def test_at_temperature_zero_a_draw_is_the_mean_of_its_component() -> None:
    z = draws(3, 300, 0.0)
    assert {tuple(row) for row in z.tolist()} == {tuple(mean) for mean in MIXTURE.means.tolist()}


def test_diagonal_scales_are_those_of_the_triangle_with_that_diagonal() -> None:
    widths = np.array([[0.5, 2.0], [0.1, 0.3], [1.0, 1.0]])
    full = Mixture(MIXTURE.weights, MIXTURE.means, np.stack([np.diag(row) for row in widths]))
    np.testing.assert_array_equal(
        draws(5, 100, 0.7, Mixture(MIXTURE.weights, MIXTURE.means, widths)), draws(5, 100, 0.7, full)
    )


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (0.6, -0.8)])
def test_draws_pass_the_test_of_kolmogorov_and_smirnov(direction: tuple[float, float]) -> None:
    """Projected onto a line, 20,000 draws have the distribution of the projected mixture (critical value at 0.001)."""
    line, n = np.array(direction), 20_000
    found = np.sort(draws(11, n).astype(np.float64) @ line)
    normals = [
        NormalDist(float(mean @ line), float(np.linalg.norm(line @ scale)))
        for mean, scale in zip(MIXTURE.means, MIXTURE.scale, strict=True)
    ]
    cdf = np.array(
        [sum(w * normal.cdf(z) for w, normal in zip(MIXTURE.weights, normals, strict=True)) for z in found.tolist()]
    )
    steps = np.arange(n + 1) / n
    distance = max(np.abs(cdf - steps[1:]).max(), np.abs(cdf - steps[:-1]).max())
    assert distance < 1.95 / np.sqrt(n)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_path_through_two_points_is_the_path_between_them(method: str) -> None:
    points = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    np.testing.assert_array_equal(path_through(points, 7, method), path(points[0], points[1], 7, method))


@pytest.mark.parametrize(("count", "steps"), [(3, 3), (3, 8), (4, 10), (5, 7), (7, 100)])
def test_a_path_has_each_of_its_points_and_even_segments(count: int, steps: int) -> None:
    points = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    found = path_through(points, steps, "linear")
    assert found.shape == (steps, 5)
    where = [int(np.flatnonzero((found == point).all(1))[0]) for point in points]
    assert where == [round(i * (steps - 1) / (count - 1) + 1e-9) for i in range(count)]
    assert np.ptp(np.diff(where)) <= 1
    for i in range(count - 1):
        np.testing.assert_array_equal(
            found[where[i] : where[i + 1] + 1], path(points[i], points[i + 1], where[i + 1] - where[i] + 1, "linear")
        )


def test_a_square_between_corners_is_bilinear() -> None:
    corners = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    found = grid_between(corners, 5, "linear").reshape(5, 5, 5)
    for i, down in enumerate(np.linspace(0, 1, 5)):
        for j, right in enumerate(np.linspace(0, 1, 5)):
            shares = np.outer([1 - down, down], [1 - right, right]).ravel()
            np.testing.assert_allclose(found[i, j], shares @ corners.astype(np.float64), atol=1e-6)
    np.testing.assert_array_equal(found[[0, 0, -1, -1], [0, -1, 0, -1]], corners)


def test_a_matched_square_has_the_variance_of_the_prior() -> None:
    corners = np.random.default_rng(0).normal(size=(4, 20_000)).astype(np.float32)
    found = grid_between(corners, 3, "matched")
    np.testing.assert_allclose(found.std(1), np.ones(9), atol=0.03)
