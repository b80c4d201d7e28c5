"""Directions against definitions written anew: Newton's method, pairs counted one by one, and projections."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from service.latents.directions import (
    METHODS,
    NoDirection,
    fit,
    folds_of,
    held_out,
    logistic_regression,
    mean_difference,
    move_along,
    project,
    without,
)

Doubles = NDArray[np.float64]


def sides(count: int = 200, dim: int = 5, shift: float = 1.0, seed: int = 0) -> tuple[Doubles, Doubles]:
    """Two clouds; the positive one is shifted in dimension 0."""
    rng = np.random.default_rng(seed)
    positive, negative = rng.standard_normal((count, dim)), rng.standard_normal((2 * count, dim))
    positive[:, 0] += shift
    return positive, negative


def newton(positive: Doubles, negative: Doubles) -> Doubles:
    """Logistic regression with an L2 penalty of 1, without one of the intercept, by Newton's method."""
    x = np.concatenate([positive, negative])
    x = np.column_stack([x - x.mean(0), np.ones(len(x))])
    t = np.repeat([1.0, 0.0], [len(positive), len(negative)])
    penalty = np.diag([1.0] * (x.shape[1] - 1) + [0.0])
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        w -= np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + penalty, x.T @ (p - t) + penalty @ w)
    return w[:-1]


def test_the_methods_are_what_they_say() -> None:
    positive, negative = sides()
    np.testing.assert_allclose(mean_difference(positive, negative), positive.mean(0) - negative.mean(0))
    np.testing.assert_allclose(logistic_regression(positive, negative), newton(positive, negative), atol=1e-3)
    np.testing.assert_allclose(logistic_regression(negative, positive), -logistic_regression(positive, negative), atol=1e-3)
    far = positive + 100.0, negative + 100.0  # wherever the latents are
    np.testing.assert_allclose(logistic_regression(*far), newton(*far), atol=1e-3)


def test_a_dimension_that_a_model_does_not_use_gets_no_weight() -> None:
    positive, negative = sides()
    positive[:, 1], negative[:, 1] = 0.001, -0.001  # separates the sides, but no decoder would see it
    found = fit(positive, negative, "logistic_regression")
    assert found[0] > 0.9
    assert abs(found[1]) < 0.4


@pytest.mark.parametrize("method", METHODS)
def test_sides_that_a_plane_separates(method: str) -> None:
    positive, negative = sides(shift=50)
    found = fit(positive, negative, method)
    assert np.linalg.norm(found) == pytest.approx(1)
    assert found[0] > 0.99
    turns = [held_out(fold, positive, negative, method) for fold in range(5)]
    assert all(right == pairs for right, pairs in turns)
    assert sum(pairs for _, pairs in turns) == 5 * 40 * 80


@pytest.mark.parametrize("method", METHODS)
def test_held_out_items_are_ranked_by_a_direction_that_was_made_without_them(method: str) -> None:
    positive, negative = sides(23, shift=0.7)
    negative = np.round(negative, 1)
    assert folds_of(positive, negative) == 5
    for fold in range(5):
        rest = [np.delete(side, np.s_[fold::5], axis=0) for side in (positive, negative)]
        direction = fit(rest[0], rest[1], method)
        pairs = list(itertools.product(positive[fold::5] @ direction, negative[fold::5] @ direction))
        right = sum(1.0 if high > low else 0.5 if high == low else 0.0 for high, low in pairs)
        assert held_out(fold, positive, negative, method) == (right, len(pairs))


def test_items_without_a_difference_have_no_better_rank_than_chance() -> None:
    """A direction that is ranked on what it was made from would seem to be far better than it is."""
    positive, negative = sides(30, dim=40, shift=0)
    turns = [held_out(fold, positive, negative, "mean_difference") for fold in range(5)]
    assert 0.35 < sum(right for right, _ in turns) / sum(pairs for _, pairs in turns) < 0.65
    direction = fit(positive, negative, "mean_difference")
    assert (project(positive, direction)[:, None] > project(negative, direction)).mean() > 0.8


def test_few_items_are_held_out_one_at_a_time() -> None:
    positive, negative = sides(2, shift=9)
    assert folds_of(positive, negative) == 2
    assert [held_out(fold, positive, negative, "mean_difference")[1] for fold in range(2)] == [2, 2]
    tied = np.zeros((2, 5))
    tied[:, 0] = 1
    assert held_out(0, tied, np.zeros((2, 5)), "mean_difference") == (1.0, 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_direction_is_orthogonal_to_others(method: str) -> None:
    positive, negative = sides()
    rng = np.random.default_rng(1)
    others = [rng.standard_normal(5) for _ in range(2)]
    others.append(3 * others[0] - others[1])  # which adds nothing
    found = fit(positive, negative, method, others)
    assert np.linalg.norm(found) == pytest.approx(1)
    for other in others:
        assert abs(found @ other) < 1e-12
    with pytest.raises(NoDirection, match="nothing is left of the direction"):
        fit(positive, negative, method, list(np.eye(5)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 1e-30, 3.0, 1e4])
def test_equal_sides_have_no_direction(method: str, value: float) -> None:
    with pytest.raises(NoDirection, match="same mean"):
        fit(np.full((3, 2), value), np.full((7, 2), value), method)


def test_an_edit_leaves_what_it_keeps_as_it_is() -> None:
    rng = np.random.default_rng(0)
    smile, glasses, hat, beard = rng.standard_normal((4, 6))
    np.testing.assert_allclose(move_along([smile, hat], [1.5, -2.0], []), 1.5 * smile - 2 * hat)
    move = move_along([smile], [3.0], [glasses, hat, 0.5 * glasses - hat])
    assert abs(move @ glasses) < 1e-12
    assert abs(move @ hat) < 1e-12
    assert move @ smile > 0
    assert not np.allclose(move, 3 * smile)
    basis = np.linalg.qr(np.stack([glasses, hat]).T)[0]
    np.testing.assert_allclose(move, 3 * (smile - basis @ (basis.T @ smile)), atol=1e-12)
    for amounts, keep in (([1.0], [smile]), ([1.0], [-2 * smile, beard]), ([1e-9], [smile]), ([1.0], list(np.eye(6)))):
        with pytest.raises(NoDirection, match="nothing is left of the edit"):
            move_along([smile], amounts, keep)
    np.testing.assert_array_equal(move_along([smile], [0.0], [smile]), np.zeros(6))
    np.testing.assert_array_equal(move_along([smile, smile], [1.0, -1.0], [smile]), np.zeros(6))


def test_what_is_left_of_a_short_move_is_told_by_its_length() -> None:
    move = np.array([1e-30, 1e-30, 0.0])
    left = without(move, [np.array([1.0, 0.0, 0.0])])
    assert left is not None
    np.testing.assert_allclose(left, [0, 1e-30, 0], atol=1e-45)
