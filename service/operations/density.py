"""The density of a collection's posteriors at pictures, latents or items. Knows nothing of HTTP."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np

from service.engine.errors import TooLarge
from service.inference.deadline import in_time
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.latents.density import (
    TURN,
    Components,
    Doubles,
    Floats,
    NoDensity,
    Numbers,
    check_widths,
    log_density,
    nearest_distances,
    sample_of,
)
from service.operations.items import Entries, encode_entries
from service.operations.store_access import StoreAccess
from service.store.filters import Condition
from service.store.interface import Collection, UnknownItem
from service.store.snapshot import Snapshot

# Pairs of a point and an item in one request, which take about a minute at 20 dimensions.
MOST_PAIRS = 1 << 30
# The bandwidth and the percentiles are found by a sample of the items: so many, and fewer if that takes more pairs than these.
MOST_SAMPLE, LEAST_SAMPLE, SAMPLE_PAIRS = 1000, 100, 40_000_000
# So many results are kept with a snapshot. A map of 128 x 128 cells takes half a MiB; the graph, of which there is one, up to
# 3 MiB beside a copy of its means, and makes no room for others, since it takes the longest to make.
MOST_RESULTS = 8
GRAPH = "graph"
# More bytes than a thread is asked for: this is never done on the event loop.
LONG = 1 << 62
AUTO: Literal["auto"] = "auto"
LATE = "the deadline passed before the density was computed"

Bandwidth = float | Literal["auto"]
T = TypeVar("T")


class TooManyPairs(TooLarge):
    """More pairs of a point and an item than one request may have."""

    def __str__(self) -> str:
        return (
            f"the request compares {self.rows} pairs of a point and an item; at most {self.max_rows} are allowed: send fewer "
            "points, or narrow the filter"
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A bandwidth, and how many items it was found by; 0 if it was stated."""

    value: float
    sample: int

    @property
    def name(self) -> str:
        """The word for it in messages."""
        return AUTO if self.sample else "as stated"


@dataclass(frozen=True, slots=True)
class Densities:
    """The density at Q points."""

    log_density: Doubles  # (Q,) nats
    percentile: list[float | None]  # of the stored items, leave one out; None if there are not two
    nearest: list[list[str]]  # ids, nearest first
    bandwidth: Chosen
    snapshot: Snapshot
    sample: int  # items that the percentiles are among


def sample_size(count: int) -> int:
    """Return how many of so many items are looked at where each of them is compared with all."""
    return min(count, MOST_SAMPLE, max(LEAST_SAMPLE, SAMPLE_PAIRS // max(1, count)))


async def in_turns(pipeline: Pipeline, inference: Inference, parts: Iterable[Callable[[], T]]) -> list[T]:
    """Do work part by part on a thread; a caller that leaves, and the deadline, end it between two parts."""

    async def work() -> list[T]:
        return [await pipeline.offload(LONG, part) for part in parts]

    return await in_time(work(), inference.deadline, LATE)


def keep(snapshot: Snapshot, key: object, value: T) -> T:
    """Keep a result with the snapshot that it was computed from, beside the last few others and the graph."""
    while len(snapshot.results) >= MOST_RESULTS:
        snapshot.results.pop(next(one for one in snapshot.results if one != GRAPH))
    snapshot.results[key] = value
    return value


async def choose_bandwidth(
    pipeline: Pipeline, inference: Inference, wanted: Bandwidth, mu: Floats, snapshot: Snapshot, key: object = AUTO
) -> Chosen:
    """Return the bandwidth that is stated, or the median distance of means (N, D) to their nearest neighbour / sqrt(D).

    The rule scales with the data and needs no labels; leave one out. `key`: what the result is kept under. Raises NoDensity.
    """
    if wanted != AUTO:
        return Chosen(float(wanted), 0)
    if not len(mu):
        return Chosen(0.0, 0)
    if len(mu) < 2:
        raise NoDensity("bandwidth=auto needs two items or more, and there is one; state a bandwidth such as 0.5")
    if key in snapshot.results:
        found: Chosen = snapshot.results[key]
        return found
    rows = sample_of(len(mu), sample_size(len(mu)))
    parts = [partial(nearest_distances, mu, part) for part in _turns(rows, mu)]
    distances = np.concatenate(await in_turns(pipeline, inference, parts))
    return keep(snapshot, key, Chosen(float(np.median(distances)) / math.sqrt(mu.shape[1]), len(rows)))


async def evaluate(
    pipeline: Pipeline, inference: Inference, points: Floats, components: Components, left_out: Sequence[int], k: int = 0
) -> tuple[Doubles, Numbers]:
    """Do what `log_density` does, in turns. Raises TooManyPairs before anything is computed."""
    pairs = len(points) * len(components)
    if pairs > MOST_PAIRS:
        raise TooManyPairs(pairs, MOST_PAIRS)
    own = np.asarray(left_out, np.int64)
    parts = [
        partial(log_density, points[rows], components, own[rows].tolist(), k)
        for rows in _turns(np.arange(len(points)), components.mu)
    ]
    found = await in_turns(pipeline, inference, parts)
    values, nearest = zip(*found, strict=True) if found else ((np.empty(0),), (np.empty((0, k), np.int64),))
    return np.concatenate(values), np.concatenate(nearest)


def _turns(rows: Numbers, mu: Floats) -> list[Numbers]:
    """Cut rows into parts, each of which takes a thread some 20 milliseconds if it is compared with all of mu."""
    size = max(1, TURN // max(1, mu.size))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


async def components_of(
    pipeline: Pipeline, inference: Inference, snapshot: Snapshot, wanted: Bandwidth, filtered: bool = True
) -> tuple[Components, Chosen]:
    """Return the mixture of a snapshot's posteriors with its bandwidth. Raises NoDensity, see `check_widths`."""
    bandwidth = await choose_bandwidth(pipeline, inference, wanted, snapshot.mu, snapshot)
    check_widths(snapshot.sigma, snapshot.has_sigma, bandwidth.value, bandwidth.name, filtered)
    return Components(snapshot.mu, snapshot.sigma, bandwidth.value), bandwidth


async def density(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    queries: Entries,
    filter: tuple[Condition, ...] = (),
    bandwidth: Bandwidth = AUTO,
    k: int = 5,
    strict: bool = False,
) -> Densities:
    """Return the log density of each query's mu under the stored posteriors, its percentile among them, and what is near.

    A query by the id of a stored item leaves that item out. Raises NoDensity, TooManyPairs, StoreError, BadInput,
    BatcherError.
    """
    with store.searches.admit(len(queries)):
        await encode_entries(pipeline, inference, collection, queries)
        async with store.snapshots.lent(collection.name, [filter], inference.deadline, strict) as [snapshot]:
            points = await points_of(store, inference, snapshot, queries)
            components, chosen = await components_of(pipeline, inference, snapshot, bandwidth)
            left_out = rows_of(snapshot, stored_ids(queries))
            values, nearest = await evaluate(pipeline, inference, points, components, left_out, k)
            others = await _among(pipeline, inference, snapshot, components)
    percentile = [
        100 * np.searchsorted(others, value, side="right") / len(others) if len(others) else None for value in values
    ]
    ids = [[snapshot.ids[row] for row in rows if row >= 0] for rows in nearest.tolist()]
    return Densities(values, [None if one is None else float(one) for one in percentile], ids, chosen, snapshot, len(others))


async def _among(pipeline: Pipeline, inference: Inference, snapshot: Snapshot, components: Components) -> Doubles:
    """Return the log densities of stored items, each left out of the mixture, ascending; of a sample if there are many."""
    if len(snapshot) < 2:
        return np.empty(0)
    key = ("among", components.bandwidth)
    if key in snapshot.results:
        found: Doubles = snapshot.results[key]
        return found
    rows = sample_of(len(snapshot), sample_size(len(snapshot)))
    values, _ = await evaluate(pipeline, inference, snapshot.mu[rows], components, rows.tolist())
    return keep(snapshot, key, np.sort(values))


def stored_ids(queries: Entries) -> list[str | None]:
    """Return the ids of the queries that are stored items; a picture may have the name of its file for an id."""
    return [id if image is None else None for id, image in zip(queries.ids, queries.raw, strict=True)]


async def points_of(store: StoreAccess, inference: Inference, snapshot: Snapshot, queries: Entries) -> Floats:
    """Return the means of all queries, (Q, D). Those of stored items are of the snapshot's state. Raises UnknownItem."""
    points, ids = queries.mu.copy(), stored_ids(queries)
    for i, (id, row) in enumerate(zip(ids, rows_of(snapshot, ids), strict=True)):
        if id is None:
            continue
        if row >= 0:
            points[i] = snapshot.mu[row]
            continue
        try:  # an item that the filter does not find
            points[i] = (await store.item(snapshot.collection.name, id, inference.deadline)).mu[0]
        except UnknownItem as error:
            error.item = i
            raise
    return points


def rows_of(snapshot: Snapshot, ids: Sequence[str | None]) -> list[int]:
    """Return the row of each id, -1 for one that is not there or None."""
    rows = [-1 if id is None else bisect_left(snapshot.ids, id) for id in ids]
    return [row if 0 <= row < len(snapshot) and snapshot.ids[row] == id else -1 for row, id in zip(rows, ids, strict=True)]
