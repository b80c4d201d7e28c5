"""Pictures of any size <-> latents with their shape, (N, C, h, w), of models whose latents have one. Knows nothing of HTTP."""

from dataclasses import dataclass

from models.spatial_latents import SpatialLatents
from service.formats.errors import Unusable
from service.formats.raw_items import RawItems
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


def spatial_of(model: ServedModel) -> SpatialLatents:
    """Return how the latents of a model are made up. Raises NoLatentShape."""
    found = model.kind.spatial
    if found is None:
        raise NoLatentShape(f"the latents of {model.name!r} have no shape: choose a model with a latent_shape, see /models")
    return found


async def encode(pipeline: Pipeline, inference: Inference, pictures: RawItems) -> ShapedPosteriors:
    """Return the posteriors of pictures, files or rows (N, C, H, W): uint8, or float32 about [0, 1], not clipped.

    `inference.size` then has their size. Raises NoLatentShape, BadInput, BatcherError.
    """
    spatial, inference.any_size = spatial_of(inference.model), True
    rows = await pipeline.encode(pictures, inference)
    size = inference.size or inference.model.shape[:2]
    shaped = rows.reshape(len(rows), 3, *spatial.shape(*size))
    return ShapedPosteriors(shaped[:, 0], shaped[:, 1], shaped[:, 2])


async def decode(pipeline: Pipeline, inference: Inference, z: Floats) -> Floats:
    """Return the pictures of latents (N, C, h, w): means of pixels, float32 (N, H, W, C), about [0, 1] and not clipped.

    `inference.size` then has their size. Raises NoLatentShape, Unusable, BatcherError.
    """
    spatial = spatial_of(inference.model)
    if z.ndim != 4 or z.shape[1] != spatial.channels or not min(z.shape):
        raise Unusable(f"latents of {inference.model.name!r} have the shape (N, {spatial.channels}, h, w), not {z.shape}")
    inference.size = size_of(inference.model, z.shape)
    return await pipeline.decode(z.reshape(len(z), -1), inference)


def size_of(model: ServedModel, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return (H, W) of the pictures of latents (N, C, h, w); None for the model's own size."""
    size = spatial_of(model).size_of(shape[1:])
    return None if size == model.shape[:2] else size
