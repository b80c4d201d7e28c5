"""Pictures -> what the model makes of them. Knows nothing of HTTP."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.formats.pictures import Pictures
from service.inference.pipeline import Inference, Pipeline
from service.inference.served_model import Floats
from service.latents import noise as seeds
from service.operations.encode import draw_from_posterior
from service.operations.generate import PixelKind, draw_pixels


@dataclass(frozen=True, slots=True)
class Reconstructions:
    """N pictures as the model saw them, and as it sees them. `seed` is None where nothing was drawn."""

    originals: list[NDArray[Any]]  # blocks of (n, C, H, W), uint8 or float32 in [0, 1]
    pixels: Floats  # (N, H, W, C)
    seed: int | None


async def reconstruct(
    pipeline: Pipeline,
    inference: Inference,
    pictures: Pictures,
    mode: Literal["mean", "sample"] = "mean",
    seed: int | None = None,
    pixels: PixelKind = "mean",
) -> Reconstructions:
    """Return the means of the likelihood, or draws from it, at z = mu or at a draw from the posterior (mode sample).

    The seed is that of both draws. Raises BadInput, BatcherError.
    """
    originals: list[NDArray[Any]] = []
    rows = await pipeline.encode(pictures, inference, originals)
    z, seed = np.ascontiguousarray(rows[:, 0]), seeds.draw_seed() if seed is None else seed
    if mode == "sample":
        _, z = draw_from_posterior(z, rows[:, 1], seed)
    made = await pipeline.through(inference.model.decode, z, inference)
    tell = partial(pipeline.tell_of_reconstructions, inference.model, made, originals)
    await pipeline.offload(made.nbytes, tell)
    if pixels == "sample":
        made = await draw_pixels(pipeline, inference, made, seed)
    return Reconstructions(originals, made, seed if "sample" in (mode, pixels) else None)
