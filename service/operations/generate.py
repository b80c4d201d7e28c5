"""Latents, given or drawn from a prior -> data. Knows nothing of HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from service.inference.inference import Inference
from service.inference.kinds.served_kind import ServedKind
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.inference.told import Labels, beside, check_count, labels_of
from service.latents import noise as seeds
from service.latents.mixture import Mixture

# What the data of an answer are: the mean of the likelihood p(x given z), or a draw from it.
DataKind = Literal["mean", "sample"]
# Drawing the latent of one seed takes about as long as so many bytes of JSON.
BYTES_PER_SEED = 8192


@dataclass(frozen=True, slots=True)
class Samples:
    """N draws from a prior, and what draws them again."""

    z: Floats  # (N, D)
    decoded: Floats  # (N, ...), as the decoder makes them, or draws from p(x given z)
    seed: int
    prior: str
    labels: tuple[str, ...] | None = None  # what a conditional model was told about each


async def decode(pipeline: Pipeline, inference: Inference, z: Floats, draw_seed: int | None = None) -> Floats:
    """Return the data of latents (N, D), (N, ...), or with a seed draws from p(x given z).

    Raises BatcherError.
    """
    return await pipeline.data(await pipeline.decode(z, inference), inference, draw_seed)


async def sample(
    pipeline: Pipeline,
    inference: Inference,
    n: int,
    seed: int | None = None,
    temperature: float = 1.0,
    prior: str | None = None,
    label: str | None = None,
    data: DataKind = "mean",
) -> Samples:
    """Return n draws from a prior that `Priors` names; for None from the fitted prior, or the trained one if it has none.

    With a label, only from the components of the fitted prior that have it. A conditional model is told `inference.label`
    instead, or labels that the seed draws with the frequencies of its training.

    z = temperature * eps(seed, item) for N(0, I), z = mean_k + temperature * L_k eps for a mixture; the seed is drawn when
    there is none. Rows are admitted before any noise is drawn. Raises NoSuchPrior, NoSuchLabel, BatcherError.
    """
    model = inference.model
    prior, mixture = pipeline.catalog.priors[model.name].choose(prior, label)
    seed = seeds.draw_seed() if seed is None else seed
    labels = _labels(inference, seed, n)
    with model.kind.decoding(inference, n) as decode:
        z = await pipeline.offload(8 * n * model.latent_dim, partial(_draw, seed, n, model.latent_dim, temperature, mixture))
        made = await decode(z if labels is None else beside(z, labels))
    made = await pipeline.data(made, inference, seed if data == "sample" else None)
    if labels is None or model.condition is None:
        return Samples(z, made, seed, prior)
    return Samples(z, made, seed, prior, tuple(model.condition.values[index] for index in labels))


async def sample_each(
    pipeline: Pipeline,
    inference: Inference,
    numbers: Sequence[int],
    temperature: float = 1.0,
    prior: str | None = None,
    label: str | None = None,
    data: DataKind = "mean",
) -> Samples:
    """Return one draw for each of some seeds: what `sample` returns for n = 1 and that seed. `Samples.seed` is the first one.

    A conditional model is told one label for all, or one for each. Raises what `sample` raises.
    """
    model, count = inference.model, len(numbers)
    prior, mixture = pipeline.catalog.priors[model.name].choose(prior, label)
    labels = _labels_each(inference, numbers)
    if inference.stepping.temperature:
        inference.stepping = replace(inference.stepping, seeds=np.array(numbers, np.int64))
    with model.kind.decoding(inference, count) as decode:
        draw = partial(_draw_each, numbers, model.latent_dim, temperature, mixture)
        z = await pipeline.offload(BYTES_PER_SEED * count, draw)
        made = await decode(z if labels is None else beside(z, labels))
    if data == "sample":
        made = await pipeline.offload(16 * made.size, partial(_draw_data, model.kind, made, numbers))
    else:
        made = await pipeline.data(made, inference)
    if labels is None or model.condition is None:
        return Samples(z, made, numbers[0], prior)
    return Samples(z, made, numbers[0], prior, tuple(model.condition.values[index] for index in labels))


def _labels_each(inference: Inference, numbers: Sequence[int]) -> Labels | None:
    """Return the labels of one sample for each seed, as `_labels` does."""
    if inference.model.condition is not None and inference.label is None:
        return np.array([_labels(inference, seed, 1) for seed in numbers], np.int64)[:, 0]
    return _labels(inference, 0, len(numbers))


def _draw_data(kind: ServedKind, decoded: Floats, numbers: Sequence[int]) -> Floats:
    """Return data drawn from p(x given z), each with the noise of its own seed."""
    return np.concatenate([kind.draw(decoded[i : i + 1], seed) for i, seed in enumerate(numbers)])


def _draw_each(numbers: Sequence[int], dim: int, temperature: float, mixture: Mixture | None) -> Floats:
    return np.concatenate([_draw(seed, 1, dim, temperature, mixture) for seed in numbers])


def _labels(inference: Inference, seed: int, n: int) -> Labels | None:
    """Return the labels of n samples, (n,): as asked, else drawn; None for a model without a condition. Raises NoSuchLabel."""
    condition = inference.model.condition
    if condition is not None and inference.label is None:
        return condition.drawn(seeds.label_uniform(seed, n))
    asked = labels_of(inference.model, inference.label)
    if asked is None:
        return None
    check_count(asked, n)
    return np.broadcast_to(asked, n)


def _draw(seed: int, n: int, dim: int, temperature: float, mixture: Mixture | None) -> Floats:
    """Draw latents (n, D) from N(0, temperature^2 I), or from the mixture."""
    if mixture is not None:
        eps, uniform = seeds.normal_and_uniform(seed, n, dim)
        return mixture.draw(eps, uniform, temperature)
    eps = seeds.standard_normal(seed, n, dim)
    return eps * eps.dtype.type(temperature)
