"""ELBO and importance-weighted bound of pictures, from K draws of each posterior that the decoder decodes.

All pictures share the same noise, so that a picture's numbers depend on neither its place nor its company. Knows nothing of
HTTP.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import scores
from models.scores import Array, TrainingLatents
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats, ServedModel
from service.operations.encode import Posteriors

# So many latents are decoded at a time, which bounds the memory.
BLOCK_ROWS = 512


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lower bounds of log p(x) in nats, and the effective number of draws behind the second; each (N,)."""

    elbo: Array
    iwae: Array
    ess: Array


async def likelihood_bounds(
    pipeline: Pipeline,
    model: ServedModel,
    decode: Callable[[Floats], Awaitable[Floats]],
    x: NDArray[Any],
    posteriors: Posteriors,
    prior: TrainingLatents | None,
    eps: Floats,
) -> Bounds:
    """Return the bounds of pictures x (N, C, H, W), by K draws from their posteriors; eps: (K, D).

    `decode`: latents -> means, N K of them in all. `prior`: that which the model was trained with, None for N(0, I).

    Both are of the same weights w_k = p(x given z_k) p(z_k) / q(z_k given x): ELBO = mean_k log w_k, and IWAE = log mean_k
    w_k, which is never smaller (Burda et al. 2016, arXiv:1509.00519, equation 8). Raises what `decode` raises.
    """
    step, found = max(1, BLOCK_ROWS // len(eps)), []
    for first in range(0, len(x), step):
        some = slice(first, first + step)
        own, z = posteriors.rows[some], posteriors.mu[some, None] + posteriors.sigma[some, None] * eps  # (n, K, D)
        means = await decode(z.reshape(-1, z.shape[2]))
        compute = partial(_bounds_of_block, model, prior, x[some], Posteriors(own), z, means)
        found.append(await pipeline.offload(4 * means.nbytes, compute))
    return Bounds(*(np.concatenate(one) for one in zip(*found, strict=True)))


def _bounds_of_block(
    model: ServedModel, prior: TrainingLatents | None, x: NDArray[Any], posteriors: Posteriors, z: Floats, means: Floats
) -> tuple[Array, Array, Array]:
    """Return (elbo, iwae, ess), (n,) each, of pictures (n, C, H, W), draws (n, K, D) and their means (n K, H, W, C)."""
    kind = model.manifest.model.likelihood
    elbo, iwae, ess = np.empty((3, len(x)))
    draws, means = z.shape[1], means.transpose(0, 3, 1, 2)  # (n K, C, H, W)
    for i in range(len(x)):  # One picture at a time, so that no other one changes its last bits.
        repeated = np.broadcast_to(x[i], (draws, *x[i].shape))
        log_x = scores.log_likelihood(kind, repeated, means[i * draws : (i + 1) * draws], model.sigma)  # (K,)
        log_p = scores.log_normal(z[i]) if prior is None else prior.log_density(z[i])
        log_q = scores.log_normal(z[i], posteriors.mu[i], posteriors.sigma[i])
        log_weights = (log_x + log_p - log_q)[None]  # (1, K)
        (elbo[i],) = scores.mean_bound(log_weights)
        (iwae[i],), (ess[i],) = scores.importance_bound(log_weights)
    return elbo, iwae, ess
