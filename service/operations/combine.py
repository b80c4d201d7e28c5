"""Points -> their weighted sum, or their barycenter. Knows nothing of HTTP."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Unusable
from service.formats.latent_rows import MAX_LATENT
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.latents.combinations import mean, wasserstein_barycenter, weighted_sum
from service.operations.points import Points, locate
from service.operations.store_access import StoreAccess
from service.store.interface import Collection

BarycenterMethod = Literal["euclidean", "w2"]


@dataclass(frozen=True, slots=True)
class Barycenter:
    """The mean of N points, or the barycenter of N posteriors, which has a sigma."""

    mu: Floats  # (1, D)
    sigma: Floats | None  # (1, D)


async def combine(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    points: Points,
    weights: NDArray[np.float64],
    collection: Collection | None = None,
) -> Floats:
    """Return the sum of weighted points, (1, D); a posterior stands for its mu. Raises what `locate` does, and Unusable."""
    mu = (await locate(pipeline, store, inference, points, collection)).mu
    z = await pipeline.offload(8 * mu.size, partial(weighted_sum, mu, weights))
    largest = float(np.abs(z).max())
    if not largest <= MAX_LATENT:
        raise Unusable(f"the sum has a number of size {largest:.0f}, but latents end at {MAX_LATENT:g}; use smaller weights")
    return z[None].astype(np.float32)


async def barycenter(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    points: Points,
    weights: NDArray[np.float64],
    method: BarycenterMethod = "euclidean",
    collection: Collection | None = None,
) -> Barycenter:
    """Return the mean of points, or the 2-Wasserstein barycenter of posteriors, which all must have a sigma.

    `weights`: at least 0; they are divided by their sum. Raises what `locate` does, and Unusable.
    """
    if not weights.any():
        raise Unusable("all weights are 0; at least one must be above 0")
    found = await locate(pipeline, store, inference, points, collection)
    if method == "euclidean":
        mu = await pipeline.offload(8 * found.mu.size, partial(mean, found.mu, weights))
        return Barycenter(mu[None].astype(np.float32), None)
    if not found.has_sigma.all():
        raise Unusable(
            "this point has no sigma, which method=w2 needs; send mu and sigma, or ask for method=euclidean",
            int(found.has_sigma.argmin()),
            "point",
        )
    work = partial(wasserstein_barycenter, found.mu, found.sigma, weights)
    mu, sigma = await pipeline.offload(16 * found.mu.size, work)
    return Barycenter(mu[None].astype(np.float32), sigma[None].astype(np.float32))
