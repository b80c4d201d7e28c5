"""Two ends, each a picture, a latent or an item -> frames of a path between them. Knows nothing of HTTP."""

from dataclasses import dataclass

from service.engine.errors import TooLarge
from service.inference.pipeline import Inference, Pipeline
from service.inference.served_model import Floats
from service.latents import interpolation as paths
from service.operations.points import Points, locate
from service.operations.store_access import StoreAccess
from service.store.interface import Collection


@dataclass(frozen=True, slots=True)
class Frames:
    """A path in latent space and its pictures, both ends included."""

    z: Floats  # (steps, D)
    pixels: Floats  # (steps, H, W, C)


async def interpolate(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    ends: Points,
    steps: int,
    method: str = "linear",
    collection: Collection | None = None,
) -> Frames:
    """Return the frames of a path by one of `service.latents.interpolation.METHODS`; a posterior stands for its mu.

    `collection`: see `locate`. Raises what `locate` does, and TooLarge.
    """
    if steps > pipeline.max_items:  # before there are so many latents
        raise TooLarge(steps, pipeline.max_items)
    start, end = (await locate(pipeline, store, inference, ends, collection)).mu
    z = paths.path(start, end, steps, method)
    return Frames(z, await pipeline.through(inference.model.decode, z, inference))
