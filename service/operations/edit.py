"""Points of a latent space -> latents moved along named directions, and their data. Knows nothing of HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from service.formats.errors import Unusable
from service.formats.latent_rows import MAX_LATENT
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.latents.directions import Doubles, move_along
from service.operations.generate import decode
from service.operations.points import Points, locate
from service.operations.store_access import StoreAccess
from service.store.interface import Collection


@dataclass(frozen=True, slots=True)
class Edited:
    """N edited latents and what the decoder makes of them."""

    z: Floats  # (N, D)
    decoded: Floats  # (N, ...)


async def edit(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    points: Points,
    amounts: Mapping[str, float],
    keep: Sequence[str] = (),
    draw_seed: int | None = None,
) -> Edited:
    """Move points along directions of a collection, whose model `inference` must have; a posterior stands for its mu.

    An amount of 1 is one standard deviation, see `Direction.unit`. The projections on the directions `keep` stay as they
    are. With a seed, the pictures are draws from p(x given z). Raises UnknownDirection, NoDirection, Unusable, and what
    `locate` and `decode` do.
    """
    names = sorted(amounts)  # the sum of the steps has the same rounding in whatever order they come
    found = await store.directions_of(collection, [*names, *sorted(keep)], inference.deadline)
    steps, kept = [one.step for one in found[: len(names)]], [one.step for one in found[len(names) :]]
    move = move_along(steps, [amounts[name] for name in names], kept)
    located = await locate(pipeline, store, inference, points, collection)
    z = await pipeline.offload(2 * located.mu.nbytes, partial(_moved, located.mu, move))
    return Edited(z, await decode(pipeline, inference, z, draw_seed))


def _moved(mu: Floats, move: Doubles) -> Floats:
    """Return latents (N, D) plus the move (D,). Raises Unusable."""
    z = (mu + move).astype(np.float32)
    far = ~(np.abs(z) <= MAX_LATENT).all(axis=1)
    if far.any():
        raise Unusable(f"the edit leads to a latent beyond {MAX_LATENT:g}; use smaller amounts", int(far.argmax()))
    return z
