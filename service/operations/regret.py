"""Likelihood regret of pictures: their posteriors are optimised step by step, and every step is a turn of the device.

Knows nothing of HTTP.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import regret as steps
from models.scores import Array
from service.inference.deadline import in_time
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.regret_lane import first_rows, parts_of, set_step
from service.inference.served_model import Floats
from service.inference.told import labels_of
from service.latents import noise as seeds
from service.operations.admission import Progress
from service.operations.encode import Posteriors

LATE = "the deadline passed before the model was ready for regret, which it is prepared for when it is first asked for"


async def regret(
    pipeline: Pipeline, inference: Inference, x: NDArray[Any], posteriors: Posteriors, seed: int, progress: Progress
) -> Array:
    """Return ELBO(optimised posterior) - ELBO(posterior) in nats, (N,), of pictures x (N, C, H, W); see `models.regret`.

    The caller bounds the pictures that are optimised at a time: the queue takes so many. `progress` is told of every step.
    Raises BatcherError, ModelChanged.
    """
    eps = seeds.standard_normal(seed, steps.HELD + steps.STEPS, inference.model.latent_dim)
    lane = await in_time(inference.model.regret.get(), inference.deadline, LATE)
    state = np.zeros((len(x), steps.STATE, eps.shape[1]), np.float32)
    state[:, 0], state[:, 1] = posteriors.mu, posteriors.logvar
    taken = 0
    labels = labels_of(inference.model, inference.label)
    own = None if labels is None else np.broadcast_to(labels, len(x))
    rows = first_rows(x.astype(np.float32) / np.float32(255 if x.dtype == np.uint8 else 1), state, own)

    async def step(state: Floats, count: int, noise: Floats) -> tuple[Floats, Floats]:
        """Return the state after a step, and the one-sample ELBO before it."""
        nonlocal taken
        set_step(rows, state, count, noise)
        found = parts_of(await pipeline.through(lane, rows, inference))
        taken += 1
        progress(taken / (2 * steps.HELD + steps.STEPS))
        return found

    async def elbo(state: Floats) -> Array:
        """Return the mean of several ELBOs, (N,). The steps that come with them are thrown away."""
        total = np.zeros(len(x))
        for noise in eps[: steps.HELD]:
            total += (await step(state, 1, noise))[1]
        return total / steps.HELD

    before = await elbo(state)
    for count, noise in enumerate(eps[steps.HELD :], 1):
        state, _ = await step(state, count, noise)
    return await elbo(state) - before
