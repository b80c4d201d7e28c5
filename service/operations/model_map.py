"""The training latents of a model's calibration in a plane. Knows nothing of HTTP."""

from dataclasses import dataclass

import numpy as np

from models.calibration import Calibration
from models.scores import Array
from service.inference.served_model import Floats, ServedModel
from service.operations.score import NoCalibration


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane in latent space, and points in it: (mu - center) times each of the axes."""

    points: Floats  # (M, 2)
    center: Array  # (D,)
    axes: Array  # (2, D), orthogonal and of length 1
    variance: Array  # (2,), the share of each axis in the variance of the points
    calibration: Calibration  # whose training latents they are
    dims: tuple[int, int] | None  # None for principal components


def model_map(model: ServedModel, dims: tuple[int, int] | None) -> Plane:
    """Return the plane of two different dimensions, or that of the principal components for None. Raises NoCalibration.

    The latent space has at least two dimensions.
    """
    if model.calibration is None:
        raise NoCalibration(model.name, "the map shows the training latents of a calibration")
    mu = model.calibration.mu.astype(np.float64)
    dim = mu.shape[1]
    mean = mu.mean(0)
    covariance = (mu - mean).T @ (mu - mean) / len(mu)
    if dims is None:
        _, vectors = np.linalg.eigh(covariance)  # by rising eigenvalue
        axes = vectors[:, :-3:-1].T
        largest = axes[np.arange(2), np.abs(axes).argmax(1)]
        axes, center = axes * np.sign(largest)[:, None], mean  # The sign of an eigenvector is arbitrary.
    else:
        axes, center = np.eye(dim)[list(dims)], np.zeros(dim)
    total = np.trace(covariance)
    variance = np.einsum("ad,de,ae->a", axes, covariance, axes) / total if total else np.zeros(2)
    points = ((mu - center) @ axes.T).astype(np.float32)
    return Plane(points, center, axes, variance, model.calibration, dims)
