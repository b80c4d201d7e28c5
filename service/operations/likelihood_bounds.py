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
    pictures, found = max(1, BLOCK_ROWS // len(eps)), []
    for first in range(0, len(x), pictures):
        some, parts = slice(first, first + pictures), []
        for start in range(0, len(eps), BLOCK_ROWS):  # One picture may have many draws.
            own = Posteriors(posteriors.rows[some])
            z = own.mu[:, None] + own.sigma[:, None] * eps[start : start + BLOCK_ROWS]  # (n, k, D)
            means = await decode(z.reshape(-1, z.shape[2]))
            compute = partial(_log_weights, model, prior, x[some], own, z, means)
            parts.append(await pipeline.offload(4 * means.nbytes, compute))
        found.append(_bounds(np.concatenate(parts, axis=1)))
    return Bounds(*(np.concatenate(one) for one in zip(*found, strict=True)))


def _log_weights(
    model: ServedModel, prior: TrainingLatents | None, x: NDArray[Any], posteriors: Posteriors, z: Floats, means: Floats
) -> Array:
    """Return log w, (n, k), of pictures (n, C, H, W), draws (n, k, D) and their means (n k, H, W, C)."""
    found = np.empty(z.shape[:2])
    draws, means = z.shape[1], means.transpose(0, 3, 1, 2)  # (n k, C, H, W)
    for i in range(len(x)):  # One picture at a time, so that no other one changes its last bits.
        repeated = np.broadcast_to(x[i], (draws, *x[i].shape))
        own = means[i * draws : (i + 1) * draws]
        found[i] = scores.log_likelihood(model.manifest.model.likelihood, repeated, own, model.sigma)
        found[i] += scores.log_normal(z[i]) if prior is None else prior.log_density(z[i])
        found[i] -= scores.log_normal(z[i], posteriors.mu[i], posteriors.sigma[i])
    return found


def _bounds(log_weights: Array) -> tuple[Array, Array, Array]:
    """Return (elbo, iwae, ess), (n,) each, of log w, (n, K)."""
    elbo, iwae, ess = np.empty((3, len(log_weights)))
    for i, own in enumerate(log_weights):  # one at a time, as above
        (elbo[i],) = scores.mean_bound(own[None])
        (iwae[i],), (ess[i],) = scores.importance_bound(own[None])
    return elbo, iwae, ess
