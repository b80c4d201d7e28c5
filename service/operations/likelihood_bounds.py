"""ELBO and importance-weighted bound of items, from K draws of each posterior that the decoder decodes.

All items share the same noise, so that an item's numbers depend on neither its place nor its company. Knows nothing of
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
from service.inference.served_model import Floats
from service.inference.told import with_each
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
    log_likelihood: Callable[[NDArray[Any], Floats], Awaitable[Array]],
    x: NDArray[Any],
    posteriors: Posteriors,
    prior: TrainingLatents | None,
    eps: Floats,
    labels: NDArray[np.int64] | None = None,
) -> Bounds:
    """Return the bounds of items, rows x (N, ...), by K draws from their posteriors; eps: (K, D).

    `log_likelihood`: rows (n, ...) and latents (n, k, D) -> nats (n, k). `prior`: that which the model was trained
    with, None for N(0, I). `labels`: those of the items of a conditional model, int64 (N,), which stand beside z.

    Both are of the same weights w_k = p(x given z_k) p(z_k) / q(z_k given x): ELBO = mean_k log w_k, and IWAE = log mean_k
    w_k, which is never smaller (Burda et al. 2016, arXiv:1509.00519, equation 8). Raises what `log_likelihood` raises.
    """
    items, found = max(1, BLOCK_ROWS // len(eps)), []
    for first in range(0, len(x), items):
        some, parts = slice(first, first + items), []
        for start in range(0, len(eps), BLOCK_ROWS):  # One item may have many draws.
            own = Posteriors(posteriors.rows[some])
            z = own.mu[:, None] + own.sigma[:, None] * eps[start : start + BLOCK_ROWS]  # (n, k, D)
            nats = await log_likelihood(x[some], z if labels is None else with_each(z, labels[some]))
            parts.append(await pipeline.offload(16 * z.size, partial(_log_weights, prior, nats, own, z)))
        found.append(_bounds(np.concatenate(parts, axis=1)))
    return Bounds(*(np.concatenate(one) for one in zip(*found, strict=True)))


def _log_weights(prior: TrainingLatents | None, nats: Array, posteriors: Posteriors, z: Floats) -> Array:
    """Return log w, (n, k), of log p(x given z), (n, k), and draws z (n, k, D)."""
    found = np.empty(z.shape[:2])
    for i in range(len(z)):  # One item at a time, so that no other one changes its last bits.
        found[i] = nats[i]
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
