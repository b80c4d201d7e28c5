"""Directions between two sets of latents: how they are found, what they are worth, and moves that keep others as they are.

All of it is float64 and uses no matrix product whose rounding depends on the number of threads. Pure functions of arrays.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Method = Literal["mean_difference", "logistic_regression"]

# Of a vector from which other directions are removed, at least this share of its length must be left: else it is rounding.
LEAST_LEFT = 1e-5
# Items are held out in so many turns, or as many as the smaller side has items.
FOLDS = 5


class NoDirection(Exception):
    """The two sides do not determine a direction, or nothing is left of it."""


def mean_difference(positive: Doubles, negative: Doubles) -> Doubles:
    """Return the mean of the positive latents (P, D) less that of the negative ones (N, D): (D,) (Larsen et al. 2016)."""
    difference: Doubles = positive.mean(axis=0) - negative.mean(axis=0)
    return difference


def logistic_regression(positive: Doubles, negative: Doubles) -> Doubles:
    """Return the normal w of the plane that separates the two sides best, (D,), towards the positive one.

    It minimises sum_i log(1 + exp(-y_i (w x_i + b))) + |w|^2 / 2 over the latents x by L-BFGS. They are centred, but not
    standardised: the prior has the same scale in all dimensions. In a dimension that a model does not use, latents hardly
    differ; standardised, it would get a large weight, and an edit along w would change only what the decoder ignores.
    """
    from scipy.optimize import minimize  # importing it takes a quarter of a second

    x = np.concatenate([positive, negative])
    x -= x.mean(axis=0)
    y = np.repeat([1.0, -1.0], [len(positive), len(negative)])

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        w, b = parameters[:-1], parameters[-1]
        margin = y * (project(x, w) + b)
        slope = -y * np.exp(-np.logaddexp(0, margin))  # by w x + b
        value = np.logaddexp(0, -margin).sum() + (w**2).sum() / 2
        return float(value), np.append(np.einsum("nd,n->d", x, slope) + w, slope.sum())

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    normal: Doubles = found.x[:-1]
    return normal


METHODS: Mapping[str, Callable[[Doubles, Doubles], Doubles]] = {
    "mean_difference": mean_difference,
    "logistic_regression": logistic_regression,
}


def fit(positive: Doubles, negative: Doubles, method: str, others: Sequence[Doubles] = ()) -> Doubles:
    """Return a direction of length 1 from the negative to the positive side, (D,), orthogonal to all `others`.

    Raises NoDirection.
    """
    found = METHODS[method](positive, negative)
    spread = np.abs(np.concatenate([positive, negative])).max()
    if not np.linalg.norm(found) > 1e-7 * spread:
        raise NoDirection("both sides have the same mean, so there is no direction from one to the other")
    left = without(found, others)
    if left is None:
        raise NoDirection("nothing is left of the direction without the directions of orthogonal_to; leave some of them out")
    return left / np.linalg.norm(left)


def without(move: Doubles, others: Sequence[Doubles]) -> Doubles | None:
    """Return the part of a move (D,) that is orthogonal to all others, or None if no more than rounding errors is left."""
    if not others:
        return move
    rows = np.stack([other / np.linalg.norm(other) for other in others])
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    basis = basis[sizes > LEAST_LEFT]  # orthonormal, also if some of the others depend on each other
    left = move
    for _ in range(2):  # the second time removes the rounding errors of the first
        left = left - basis.T @ (basis @ left)
    return left if np.linalg.norm(left) > LEAST_LEFT * np.linalg.norm(move) else None


def folds_of(positive: Doubles, negative: Doubles) -> int:
    """Return in how many turns items are held out: FOLDS, or the size of the smaller side if it has fewer items."""
    return min(FOLDS, len(positive), len(negative))


def held_out(
    fold: int, positive: Doubles, negative: Doubles, method: str, others: Sequence[Doubles] = ()
) -> tuple[float, int]:
    """Project the latents held out in one turn onto a direction that was fitted without them; return (right, pairs).

    Row i of each side is held out in turn i mod F, with F of `folds_of`. `pairs` counts the pairs (positive, negative) that
    are held out in this turn, and `right` those of which the positive one has the larger projection; equal ones count one
    half. The sum of `right` over all turns by that of `pairs` is the AUC. Raises NoDirection if those that are left have none.
    """
    folds = folds_of(positive, negative)
    own, other = np.arange(len(positive)) % folds == fold, np.arange(len(negative)) % folds == fold
    direction = fit(positive[~own], negative[~other], method, others)
    high, low = project(positive[own], direction), np.sort(project(negative[other], direction))
    below, not_above = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float((below + not_above).sum()) / 2, len(high) * len(low)


def project(latents: Doubles, direction: Doubles) -> Doubles:
    """Return the projections of latents (N, D) onto a direction (D,) of length 1: (N,)."""
    projections: Doubles = np.einsum("nd,d->n", latents, direction)
    return projections


def move_along(steps: Sequence[Doubles], amounts: Sequence[float], keep: Sequence[Doubles]) -> Doubles:
    """Return the sum of amounts times steps (D,), without its part along the directions `keep`, so that these do not change.

    Raises NoDirection if only rounding errors of it are left.
    """
    move: Doubles = sum((amount * step for amount, step in zip(amounts, steps, strict=True)), np.zeros_like(steps[0]))
    if not move.any():
        return move
    left = without(move, keep)
    if left is None:
        raise NoDirection("nothing is left of the edit, since it is along the directions of keep; leave some of them out")
    return left
