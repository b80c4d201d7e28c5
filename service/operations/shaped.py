"""Pictures of any size <-> latents with their shape, (N, C, h, w), of models whose latents have one. Knows nothing of HTTP."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.spatial_latents import SpatialLatents
from service.formats.errors import BadInput, Unusable, of_points
from service.formats.raw_items import RawItems
from service.inference.catalog import Catalog
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats, ServedModel


class NoLatentShape(Unusable):
    """The latents of the model have no shape."""


@dataclass(frozen=True, slots=True)
class ShapedPosteriors:
    """Diagonal Gaussians of N pictures of one size, each (N, C, h, w)."""

    mu: Floats
    sigma: Floats
    logvar: Floats


@dataclass(frozen=True, slots=True)
class ShapedPoints:
    """N points of pictures of one size: each is a picture as it was sent, or a flattened latent (D,).

    `sizes` has the size (H, W) of the picture of each latent, None for the model's own, whose latents have `dim` numbers.
    """

    given: Sequence[Floats | bytes | str]
    sizes: Sequence[tuple[int, int] | None]
    dim: int

    def __len__(self) -> int:
        return len(self.given)


async def locate(pipeline: Pipeline, inference: Inference, points: ShapedPoints) -> Floats:
    """Return the mu of points, (N, D); `inference.size` then has their size. Raises BadInput, BatcherError."""
    pictures = [i for i, one in enumerate(points.given) if not isinstance(one, np.ndarray)]
    sizes = {size for i, size in enumerate(points.sizes) if i not in set(pictures)}
    inference.any_size, inference.size = True, None
    rows = None
    if pictures:
        with of_points():
            raw = RawItems([one for one in points.given if not isinstance(one, np.ndarray)])
            try:
                rows = await pipeline.encode(raw, inference)
            except BadInput as error:
                error.item = None if error.item is None else pictures[error.item]
                raise
        inference.warnings.renumbered(pictures)
        sizes.add(inference.size)
    if len(sizes) > 1:
        own = inference.model.shape[:2]
        found = " and ".join(f"{height} x {width}" for height, width in sorted(size or own for size in sizes))
        raise Unusable(f"the points are of pictures of {found} pixels (height x width); a path needs points of one size")
    (inference.size,) = sizes
    dim = math.prod(latent_shape(inference.model, inference.size))
    mu = np.empty((len(points), dim), np.float32)
    for i, one in enumerate(points.given):
        if isinstance(one, np.ndarray):
            mu[i] = one
    if rows is not None:
        mu[pictures] = rows[:, 0]
    return mu


def spatial_of(model: ServedModel, catalog: Catalog) -> SpatialLatents:
    """Return how the latents of a model are made up. Raises NoLatentShape, which names the loaded models that have a shape."""
    found = model.kind.spatial
    if found is None:
        others = ", ".join(name for name, one in catalog.models.items() if one.kind.spatial is not None)
        raise NoLatentShape(
            f"the latents of {model.name!r} are flat, ({model.latent_dim},); choose a model whose latent_shape has three "
            f"numbers: {others or 'none is loaded'}"
        )
    return found


def latent_shape(model: ServedModel, size: tuple[int, int] | None = None) -> tuple[int, ...]:
    """Return the shape of a latent of a model, of pictures of a size (H, W) or its own: (C, h, w), or (D,)."""
    spatial = model.kind.spatial
    return (model.latent_dim,) if spatial is None else spatial.shape(*(size or model.shape[:2]))


async def encode(pipeline: Pipeline, inference: Inference, pictures: RawItems) -> ShapedPosteriors:
    """Return the posteriors of pictures, files or rows (N, C, H, W): uint8, or float32 about [0, 1], not clipped.

    `inference.size` then has their size. Raises NoLatentShape, BadInput, BatcherError.
    """
    spatial, inference.any_size = spatial_of(inference.model, pipeline.catalog), True
    rows = await pipeline.encode(pictures, inference)
    size = inference.size or inference.model.shape[:2]
    shaped = rows.reshape(len(rows), 3, *spatial.shape(*size))
    return ShapedPosteriors(shaped[:, 0], shaped[:, 1], shaped[:, 2])


async def decode(pipeline: Pipeline, inference: Inference, z: Floats) -> Floats:
    """Return the pictures of latents (N, C, h, w): means of pixels, float32 (N, H, W, C), about [0, 1] and not clipped.

    `inference.size` then has their size. Raises NoLatentShape, Unusable, BatcherError.
    """
    spatial = spatial_of(inference.model, pipeline.catalog)
    if z.ndim != 4 or z.shape[1] != spatial.channels or not min(z.shape):
        raise Unusable(f"latents of {inference.model.name!r} have the shape (N, {spatial.channels}, h, w), not {z.shape}")
    inference.size = size_of(inference.model, z.shape)
    return await pipeline.decode(z.reshape(len(z), -1), inference)


def size_of(model: ServedModel, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return (H, W) of the pictures of latents (N, C, h, w); None for the model's own size, and for flat latents."""
    spatial = model.kind.spatial
    size = None if spatial is None else spatial.size_of(shape[1:])
    return None if size == model.shape[:2] else size
