"""How much of a prior's mass the posteriors of a collection cover. Knows nothing of HTTP.

alpha-precision of Alaa et al. 2022 (How faithful is your synthetic data?, arXiv:2102.08921, section 3), with a prior in the
place of the generator: the share of draws from the prior that fall into the alpha-support of the aggregate posterior. That is
the smallest set with a share alpha of its mass: all points where its density is at least some threshold.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.priors import STANDARD
from service.latents import noise as seeds
from service.latents.density import Doubles, Floats, sample_of
from service.latents.mixture import Mixture
from service.operations.collection_model import model_of
from service.operations.density import LONG, Bandwidth, Chosen, components_of, evaluate, keep, sample_size
from service.operations.store_access import StoreAccess
from service.store.filters import Condition
from service.store.interface import Collection
from service.store.snapshot import Snapshot

# The share of the aggregate posterior's mass that the support has.
ALPHA = 0.95
# Resamplings that the standard error is found by.
RESAMPLINGS = 200


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share of draws from the prior that the posteriors cover, with its standard error; None without two items.

    The error is None if all draws agree, too.
    """

    share: float | None
    standard_error: float | None
    threshold: float | None  # log density, nats
    prior: str
    draws: int
    reference: int  # draws from the posteriors that the threshold was found by
    bandwidth: Chosen


def prior_of(pipeline: Pipeline, collection: Collection, prior: str | None) -> tuple[str, Mixture | None, str]:
    """Return a prior's name, mixture and digest, None and "" for N(0, I); by default that which the model was trained with.

    Only N(0, I) needs no loaded model. Raises ModelNotLoaded, NoSuchPrior.
    """
    if prior == STANDARD:
        return STANDARD, None, ""
    priors = pipeline.catalog.priors[model_of(pipeline.catalog, collection).name]
    name, mixture = priors.choose(prior or priors.own)
    return name, mixture, priors.digests.get(name, "")


async def coverage(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    filter: tuple[Condition, ...] = (),
    bandwidth: Bandwidth = "auto",
    prior: str | None = None,
    draws: int = 500,
    seed: int = 0,
    strict: bool = False,
) -> tuple[Coverage, Snapshot]:
    """Return how much of the prior is covered, by draws from it, and by which state of the collection.

    The threshold is that of draws from the stored posteriors, each with its own item left out of the density. A prior that is
    the aggregate posterior has the coverage ALPHA. Raises NoDensity, TooManyPairs, StoreError, ModelNotLoaded, NoSuchPrior.
    """
    name, mixture, digest = prior_of(pipeline, collection, prior)
    with store.searches.admit(1):
        async with store.snapshots.lent(collection.name, [filter], inference.deadline, strict) as [snapshot]:
            count = len(snapshot)
            key = ("coverage", bandwidth, name, digest, draws, seed)
            if key in snapshot.results:
                known: Coverage = snapshot.results[key]
                return known, snapshot
            components, chosen = await components_of(pipeline, inference, snapshot, bandwidth)
            rows = sample_of(count, sample_size(count))
            if count < 2:
                return Coverage(None, None, None, name, draws, 0, chosen), snapshot
            z = await pipeline.offload(LONG, partial(_draw, seed, draws, collection.dim, mixture))
            own = await pipeline.offload(LONG, partial(_posterior_draws, snapshot, rows.tolist(), seed, draws))
            drawn, _ = await evaluate(pipeline, inference, z, components, [-1] * draws)
            reference, _ = await evaluate(pipeline, inference, own, components, rows.tolist())
            share, error, threshold = await pipeline.offload(LONG, partial(_share, drawn, reference, seed))
            made = Coverage(share, error, threshold, name, draws, len(rows), chosen)
            return keep(snapshot, key, made), snapshot


def _draw(seed: int, n: int, dim: int, mixture: Mixture | None) -> Floats:
    if mixture is None:
        return seeds.standard_normal(seed, n, dim)
    return mixture.draw(*seeds.normal_and_uniform(seed, n, dim), 1.0)


def _posterior_draws(snapshot: Snapshot, rows: list[int], seed: int, first: int) -> Floats:
    """Return a draw from the posterior of each of these items, (n, D); their noise is that of the items from `first` on."""
    eps = seeds.standard_normal(seed, len(rows), snapshot.mu.shape[1], first)
    draws: Floats = snapshot.mu[rows] + snapshot.sigma[rows] * eps
    return draws


def _share(drawn: Doubles, reference: Doubles, seed: int) -> tuple[float, float | None, float]:
    """Return the share of draws above the threshold of the reference, its bootstrap standard error, and the threshold.

    If all draws agree, all resamplings do, whatever the error is: it is None.
    """
    place = int((1 - ALPHA) * len(reference))
    threshold = np.sort(reference)[place]
    share = float((drawn >= threshold).mean())
    if share in (0.0, 1.0):
        return share, None, float(threshold)
    shares = []
    for i in range(RESAMPLINGS):
        uniform = seeds.pixel_uniform(seed, i, len(drawn) + len(reference))
        some = drawn[(uniform[: len(drawn)] * len(drawn)).astype(np.int64)]
        others = reference[(uniform[len(drawn) :] * len(reference)).astype(np.int64)]
        shares.append(float((some >= np.partition(others, place)[place]).mean()))
    return share, float(np.std(shares, ddof=1)), float(threshold)
