"""A plane of the latent space -> its pictures. Knows nothing of HTTP."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.latents import traversal
from service.latents.traversal import Doubles


class NoSuchDimension(Exception):
    """The model does not have that dimension."""

    def __init__(self, name: str, dim: int, asked: int) -> None:
        super().__init__(f"dims has {asked}, but the dimensions of {name} are 0 to {dim - 1}")


@dataclass(frozen=True, slots=True)
class Manifold:
    """Latents on a plane and their pictures, row by row from the top left: n columns and n rows."""

    dims: tuple[int, int]  # to the right, and upwards
    values: Doubles  # (n,), of both
    z: Floats  # (n^2, D)
    decoded: Floats  # (n^2, ...)


async def manifold(
    pipeline: Pipeline,
    inference: Inference,
    dims: tuple[int, int],
    side: int,
    span: float = traversal.DEFAULT_SPAN,
    point: Floats | None = None,
) -> Manifold:
    """Return the plane of two dimensions over percentiles of the prior; the others are those of the point (D,), or 0.

    Raises NoSuchDimension, BatcherError.
    """
    model = inference.model
    for j in dims:
        if j >= model.latent_dim:
            raise NoSuchDimension(model.name, model.latent_dim, j)
    center = np.zeros(model.latent_dim) if point is None else point.astype(np.float64)
    with model.kind.decoding(inference, side * side) as decode:
        values = traversal.percentiles(side, span)
        work = partial(traversal.plane, center, *dims, values)
        z = await pipeline.offload(8 * side * side * model.latent_dim, work)
        decoded = await decode(z)
    decoded = await pipeline.data(decoded, inference)
    return Manifold(dims, values, z, decoded)
