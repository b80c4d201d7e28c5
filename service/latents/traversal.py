"""Rows and planes of latents over the prior or around a point, and the directions that change a picture most.

Pure functions in float64; know nothing of models or requests.
"""

import math

import numpy as np
from numpy.typing import NDArray

from service.latents.noise import inverse_normal_cdf

Doubles = NDArray[np.float64]

# Phi(DEFAULT_SPAN) = 0.99
DEFAULT_SPAN = 2.3263478740408408
# Half the distance between the two latents from which a derivative of the decoder is estimated. With smaller steps the
# rounding of float32 pixels shows, with larger ones the curvature.
PROBE_STEP = 1 / 16


def percentiles(steps: int, span: float = DEFAULT_SPAN) -> Doubles:
    """Return `steps` >= 2 values of N(0, 1), evenly spaced in probability, from -span to span: (steps,).

    With the default they go from the 1st to the 99th percentile. They are exactly symmetric.
    """
    lowest = 0.5 * math.erfc(span / math.sqrt(2))  # Phi(-span)
    lower = inverse_normal_cdf(np.linspace(lowest, 1 - lowest, steps)[: steps // 2])
    middle = np.zeros(steps % 2)
    return np.concatenate([lower, middle, -lower[::-1]])


def even_steps(steps: int, span: float) -> Doubles:
    """Return `steps` >= 2 evenly spaced values from -span to span, exactly symmetric: (steps,)."""
    return np.arange(1 - steps, steps, 2) / (steps - 1) * span


def along(point: Doubles, directions: Doubles, values: Doubles) -> NDArray[np.float32]:
    """Move a point along unit vectors until its coordinate along each is the given value.

    (D,), (R, D), (R, S) -> float32 (R, S, D).
    """
    away = values - (directions * point).sum(1)[:, None]  # (R, S)
    z: Doubles = point + away[..., None] * directions[:, None]
    return z.astype(np.float32)


def plane(point: Doubles, first: int, second: int, values: Doubles) -> NDArray[np.float32]:
    """Return latents whose two dimensions take all pairs of values: (D,), (n,) -> float32 (n^2, D), row by row from the top.

    The first dimension grows to the right, the second one upwards (Kingma & Welling 2014, arXiv:1312.6114, appendix A).
    """
    n = len(values)
    z = np.tile(point, (n, n, 1))
    z[..., first] = values
    z[..., second] = values[::-1, None]
    return z.reshape(n * n, -1).astype(np.float32)


def probes(point: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return two neighbours of a latent in each dimension, behind and before it: (D,) -> float32 (2 D, D)."""
    away = PROBE_STEP * np.eye(len(point))
    return np.concatenate([point - away, point + away]).astype(np.float32)


def principal_directions(latents: NDArray[np.float32], pixels: NDArray[np.float32]) -> tuple[Doubles, Doubles]:
    """Return the directions along which the decoder's picture changes most, from a latent's `probes` and their pictures.

    (2 D, D), (2 D, ...) -> unit vectors (D, D), one a row, and how much the picture changes along each, (D,), falling: the
    Euclidean length of the change of all pixels for one unit of the latent. These are the eigenvectors of J^T J and the roots
    of its eigenvalues, with J the Jacobian of the decoder, estimated by central differences (Wang & Ponce 2021,
    arXiv:2101.06006, section 3). The largest number of each vector is positive.
    """
    dim = len(latents) // 2
    steps = np.diagonal(latents[dim:].astype(np.float64) - latents[:dim])  # as float32 has rounded them
    changes = (pixels[dim:].astype(np.float64) - pixels[:dim]).reshape(dim, -1) / steps[:, None]  # (D, pixels)
    squares, vectors = np.linalg.eigh(changes @ changes.T)
    directions = vectors.T[::-1]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    return directions * np.sign(largest), np.sqrt(np.maximum(squares[::-1], 0))
