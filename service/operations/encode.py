"""Pictures -> posteriors q(z given x), their KL from N(0, I), and seeded draws from them. Knows nothing of HTTP."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.latents import noise as seeds
from service.latents.kl import kl_per_dim


@dataclass(slots=True)  # A frozen one takes three times as long to make, once a request.
class Posteriors:
    """Diagonal Gaussians of N items, one block as the model gives it."""

    rows: Floats  # (N, 3, D)

    @property
    def mu(self) -> Floats:
        """Means, (N, D)."""
        return self.rows[:, 0]

    @property
    def sigma(self) -> Floats:
        """Standard deviations, (N, D)."""
        return self.rows[:, 1]

    @property
    def logvar(self) -> Floats:
        """log sigma^2, (N, D)."""
        return self.rows[:, 2]

    def kl_per_dim(self) -> NDArray[np.float64]:
        """KL(q(z given x) || N(0, I)) in nats of each dimension, float64 (N, D). Its sum over dimensions is the item's KL."""
        mu, sigma, logvar = self.rows.astype(np.float64).transpose(1, 0, 2)
        return kl_per_dim(mu, sigma, logvar)


async def encode(pipeline: Pipeline, inference: Inference, pictures: RawItems) -> Posteriors:
    """Return the posteriors of pictures, in their order. Raises BadInput, BatcherError."""
    return Posteriors(await pipeline.encode(pictures, inference))


def draw_from_posterior(mu: Floats, sigma: Floats, seed: int | None) -> tuple[int, Floats]:
    """Return (seed, z): z = mu + sigma * eps, (N, D); the seed is drawn when there is none."""
    seed = seeds.draw_seed() if seed is None else seed
    return seed, mu + sigma * seeds.standard_normal(seed, *mu.shape)
