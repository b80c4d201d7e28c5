"""Paths between two latents: their ends, their formulas, and what becomes of degenerate ends."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from service.latents import METHODS, path

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
