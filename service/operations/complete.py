"""Begun sequences -> seeded continuations of each. Knows nothing of HTTP."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.latents import noise as seeds

# Continuation i of beginning k has the noise of item k * MOST + i, so that it depends on neither their numbers.
MOST = 1 << 32


class NotSequences(Exception):
    """Data that cannot be continued, because they are not made step by step."""

    def __init__(self, model: str) -> None:
        super().__init__(f"only drawings and texts can be continued, and {model!r} is a model of neither: see kind in /models")


class TooLong(Exception):
    """A beginning that is longer than what is asked for."""


@dataclass(frozen=True, slots=True)
class Continued:
    """The continuations of N beginnings, n each, with what was begun."""

    data: NDArray[Any]  # (N n, T, ...), those of the first beginning first
    begun: NDArray[Any]  # (N, T, ...)


async def complete(pipeline: Pipeline, inference: Inference, items: RawItems, n: int) -> Continued:
    """Return n continuations of each item, each from a latent drawn from the posterior of what was begun.

    `inference.stepping` says how steps are chosen, and its seed is also that of the latents. All continuations are admitted
    before anything is computed. Raises NotSequences, TooLong, BadInput, BatcherError.
    """
    model, stepping = inference.model, inference.stepping
    if not model.kind.steps:
        raise NotSequences(model.name)
    count, originals = len(items), list[NDArray[Any]]()
    with model.kind.decoding(inference, count * n) as decode:
        rows = await pipeline.encode(items, inference, originals)
        begun = np.concatenate(originals)
        _check_lengths(begun, inference)
        eps = np.concatenate([seeds.standard_normal(stepping.seed, n, rows.shape[2], k * MOST) for k in range(count)])
        z = np.repeat(rows[:, 0], n, 0) + np.repeat(rows[:, 1], n, 0) * eps
        noise = (np.arange(count)[:, None] * MOST + np.arange(n)).ravel()
        inference.stepping = replace(stepping, begun=np.repeat(begun, n, 0), items=noise)
        made = await decode(z)
    return Continued(await pipeline.data(made, inference), begun)


def _check_lengths(begun: NDArray[Any], inference: Inference) -> None:
    """Warn of beginnings that leave no room. Raises TooLong for those that would be cut."""
    model = inference.model
    longest = model.manifest.model.shape[0]
    most = inference.stepping.max_length or longest
    for item, length in enumerate(model.kind.step_counts(begun).tolist()):
        if length > most:
            raise TooLong(
                f"beginning {item} has {length} steps, but max_length, which counts them too, is {most}: raise it to at most "
                f"{longest}, or send a shorter beginning"
            )
        if length == most:
            what = f"max_length={most}" if most < longest else f"the {longest} steps of {model.name!r}"
            inference.warnings.add(item, "no_room", f"the beginning fills {what}, so nothing is added")
