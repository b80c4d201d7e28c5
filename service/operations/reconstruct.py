"""Items -> what the model makes of them. Knows nothing of HTTP."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.latents import noise as seeds
from service.operations.encode import draw_from_posterior
from service.operations.generate import DataKind


@dataclass(frozen=True, slots=True)
class Reconstructions:
    """N items as the model saw them, and as it sees them. `seed` is None where nothing was drawn."""

    originals: list[NDArray[Any]]  # blocks of rows (n, ...)
    decoded: Floats  # (N, ...)
    seed: int | None


async def reconstruct(
    pipeline: Pipeline,
    inference: Inference,
    items: RawItems,
    mode: Literal["mean", "sample"] = "mean",
    seed: int | None = None,
    data: DataKind = "mean",
) -> Reconstructions:
    """Return the means of the likelihood, or draws from it, at z = mu or at a draw from the posterior (mode sample).

    The seed is that of both draws. Raises BadInput, BatcherError.
    """
    originals: list[NDArray[Any]] = []
    rows = await pipeline.encode(items, inference, originals)
    z, seed = np.ascontiguousarray(rows[:, 0]), seeds.draw_seed() if seed is None else seed
    if mode == "sample":
        _, z = draw_from_posterior(z, rows[:, 1], seed)
    made = await pipeline.decode(z, inference)
    if inference.size is None:  # Sums over pixels of other sizes cannot be compared with these.
        tell = partial(pipeline.tell_of_reconstructions, inference.model, made, originals)
        await pipeline.offload(made.nbytes, tell)
    shown = await pipeline.data(made, inference, seed if data == "sample" else None)
    return Reconstructions(originals, shown, seed if "sample" in (mode, data) else None)
