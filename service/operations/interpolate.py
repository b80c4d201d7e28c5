"""Points -> frames of a path through them, or of a grid between four of them. Knows nothing of HTTP."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from service.engine.errors import TooLarge
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.inference.told import WrongLabels
from service.latents import interpolation as paths
from service.operations.generate import decode
from service.operations.points import Points, locate
from service.operations.store_access import StoreAccess
from service.store.interface import Collection

SHOWN = 20  # labels in an error
# A latent of a path takes about as long as so many bytes of JSON.
BYTES_PER_FRAME = 2048


def one_label(inference: Inference) -> tuple[str, ...] | None:
    """Return the label of all frames, None if no label is known. Raises WrongLabels if the points have several."""
    found = sorted(set(inference.label or ()))
    if len(found) > 1:
        raise WrongLabels(
            f"the points have the labels {', '.join(found[:SHOWN])}, and all frames of a path have one: add label, such as "
            f"label={found[0]}."
        )
    return tuple(found) or None


@dataclass(frozen=True, slots=True)
class Frames:
    """Latents on a path or a grid, and what the decoder makes of them."""

    z: Floats  # (N, D)
    decoded: Floats  # (N, ...)


async def interpolate(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    points: Points,
    steps: int,
    method: str = "linear",
    collection: Collection | None = None,
    corners: bool = False,
) -> Frames:
    """Return `steps` frames of a path through points by one of `service.latents.interpolation.METHODS`.

    With `corners`, the four points are those of a square, and the frames are its `steps` x `steps` pictures. A posterior
    stands for its mu. Raises what `locate` does, and TooLarge.
    """
    count = steps * steps if corners else steps
    if count > pipeline.max_items:  # before there are so many latents
        raise TooLarge(count, pipeline.max_items)
    mu = (await locate(pipeline, store, inference, points, collection)).mu
    inference.label = one_label(inference)
    walk = partial(paths.grid_between if corners else paths.path_through, mu, steps, method)
    z = await pipeline.offload(BYTES_PER_FRAME * count, walk)
    return Frames(z, await decode(pipeline, inference, z))


async def interpolate_each(
    pipeline: Pipeline, inference: Inference, points: Floats, steps: int, method: str = "linear"
) -> Frames:
    """Return `steps` frames of each of N paths through K latents, (N, K, D): those of the first path come first.

    A conditional model is told one label for all paths, or one for each. Raises TooLarge, BatcherError.
    """
    count = len(points) * steps
    if count > pipeline.max_items:
        raise TooLarge(count, pipeline.max_items)
    z = await pipeline.offload(BYTES_PER_FRAME * count, partial(_walks, points, steps, method))
    return Frames(z, await decode(pipeline, inference, z))


def _walks(points: Floats, steps: int, method: str) -> Floats:
    return np.concatenate([paths.path_through(each, steps, method) for each in points])
