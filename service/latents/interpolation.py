"""Paths between two latents. Pure functions; know nothing of models or requests."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def linear(start: Vector, end: Vector, t: float) -> Vector:
    """Return (1 - t) start + t end."""
    return (1 - t) * start + t * end


def slerp(start: Vector, end: Vector, t: float) -> Vector:
    """Go along the great circle: sin((1-t) w)/sin(w) start + sin(t w)/sin(w) end (White 2016, arXiv:1609.04468).

    w is the angle between the ends. If it is undefined, 0 or 180 degrees, the path is the straight line.
    """
    lengths = float(np.linalg.norm(start) * np.linalg.norm(end))
    omega = np.arccos(np.clip(start @ end / lengths, -1, 1)) if lengths else 0.0
    if np.sin(omega) < 1e-6:
        return linear(start, end, t)
    weighted: Vector = (np.sin((1 - t) * omega) * start + np.sin(t * omega) * end) / np.sin(omega)
    return weighted


def matched(start: Vector, end: Vector, t: float) -> Vector:
    """Go along the straight line, rescaled to the variance of the prior: / sqrt((1-t)^2 + t^2).

    For independent ends drawn from N(0, I) each point has the prior's distribution, which on the plain line shrinks
    towards the middle (Agustsson et al. 2019, arXiv:1711.01970, section 3).
    """
    line: Vector = linear(start, end, t) / np.hypot(1 - t, t)
    return line


METHODS: Mapping[str, Callable[[Vector, Vector, float], Vector]] = {
    "linear": linear,
    "slerp": slerp,
    "matched": matched,
}


def path(start: NDArray[np.float32], end: NDArray[np.float32], steps: int, method: str) -> NDArray[np.float32]:
    """Return `steps` >= 2 latents from `start` to `end`, both included exactly: (D,), (D,) -> float32 (steps, D)."""
    along, a, b = METHODS[method], start.astype(np.float64), end.astype(np.float64)
    inner = [along(a, b, t).astype(np.float32) for t in np.linspace(0, 1, steps)[1:-1]]
    return np.stack([start, *inner, end])


def path_through(points: NDArray[np.float32], steps: int, method: str) -> NDArray[np.float32]:
    """Return `steps` latents from the first of N >= 2 points to the last, through all others: (N, D) -> float32 (steps, D).

    Point i is frame round(i (steps - 1) / (N - 1)), so every segment has the same number of frames, or one more or less, and
    its frames are evenly spaced. `steps` is at least N.
    """
    last = len(points) - 1
    frames = [(2 * i * (steps - 1) + last) // (2 * last) for i in range(last + 1)]
    segments = [path(points[i], points[i + 1], frames[i + 1] - frames[i] + 1, method)[:-1] for i in range(last)]
    return np.concatenate([*segments, points[-1:]])


def grid_between(corners: NDArray[np.float32], steps: int, method: str) -> NDArray[np.float32]:
    """Return a square of latents between four corners, row by row from the top: (4, D) -> float32 (steps^2, D).

    The corners are upper left, upper right, lower left and lower right. The left and the right side are paths, and every row
    is a path between them: with straight lines that is bilinear interpolation.
    """
    left, right = (path(corners[i], corners[i + 2], steps, method) for i in range(2))
    return np.concatenate([path(start, end, steps, method) for start, end in zip(left, right, strict=True)])
