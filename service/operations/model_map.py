"""The training latents of a model's calibration in a plane. Knows nothing of HTTP."""

import numpy as np

from models.calibration import Calibration
from service.inference.served_model import Floats, ServedModel
from service.latents.plane import Plane, plane_of_dims, principal_plane
from service.operations.score import NoCalibration


def model_map(model: ServedModel, dims: tuple[int, int] | None) -> tuple[Calibration, Plane, Floats]:
    """Return the calibration, the plane of two different dimensions or for None of the principal components, and the points.

    The points are the coordinates of the calibration's training latents, (M, 2). The latent space has at least two dimensions.
    Raises NoCalibration.
    """
    if model.calibration is None:
        raise NoCalibration(model.name, "the map shows the training latents of a calibration")
    mu = model.calibration.mu
    plane = principal_plane(mu) if dims is None else plane_of_dims(*dims, model.latent_dim)
    return model.calibration, plane, plane.coordinates(mu).astype(np.float32)
