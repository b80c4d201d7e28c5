"""Paths that stay near the stored items of a collection, and how near any path stays. Knows nothing of HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from service.engine.errors import TooLarge
from service.formats.errors import Unusable
from service.inference.deadline import in_time
from service.inference.inference import Inference
from service.inference.kinds.served_kind import ServedKind
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.latents.density import NoDensity, sample_of
from service.latents.graph import BLOCK, Doubles, Graph, Numbers, nearest, neighbor_pairs, resampled, shortest_path
from service.operations.density import AUTO, GRAPH, LONG, Bandwidth, Chosen, components_of, evaluate, in_turns, keep
from service.operations.generate import decode
from service.operations.interpolate import Frames
from service.operations.points import Points, locate
from service.operations.store_access import StoreAccess
from service.store.interface import Collection
from service.store.snapshot import Snapshot

# Each item is joined with so many nearest ones, and so are both ends of a path.
NEIGHBORS = 10
# The graph is that of so many items at most, and of fewer if their decoded pictures, as float32, would take more memory.
MOST_ITEMS, MOST_BYTES = 10_000, 256 << 20
# Of the training latents of a model, so many: each process makes that graph again after its start, and a person waits for it.
MOST_TRAINING_ITEMS = 2_000
# Items that are decoded, and pairs that are compared, before others get a turn.
DECODED_AT_ONCE, PAIRS_AT_ONCE = 256, 1000
LATE = "the deadline passed before the graph of the collection was made"


@dataclass(frozen=True, slots=True)
class Along:
    """What a path is like: its length, and the density of the stored posteriors along it."""

    length: float  # sum over frames of sqrt(symmetric KL) between the decoded distributions
    log_density: Doubles | None  # (steps,) nats; None if there is none and it is not needed
    bandwidth: Chosen | None


@dataclass(frozen=True, slots=True)
class GraphPath:
    """A path through a graph of stored items."""

    frames: Frames
    along: Along
    ids: list[str]  # the stored items on it, in order
    items: int  # in the graph
    count: int  # in the collection


async def graph_path(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    ends: Points,
    steps: int,
    density_weight: float = 0.5,
    bandwidth: Bandwidth | None = None,
    with_density: bool = False,
) -> GraphPath:
    """Return the frames of the shortest path between two points through stored items, at equal steps of length.

    Each edge costs length ** (1 + 2 * density_weight): with 0 the path is the shortest, with 0.5 an edge costs the symmetric
    KL. `bandwidth`: see `measure`. `with_density`: NoDensity is an error even without a bandwidth, as it is with one. Raises
    Unusable for an empty collection, what `locate` and `measure` do, TooLarge.
    """
    if steps > pipeline.max_items:
        raise TooLarge(steps, pipeline.max_items)
    mu = (await locate(pipeline, store, inference, ends, collection)).mu
    with store.searches.admit(len(mu)):
        async with _lent(pipeline, store, inference, collection) as (snapshot, graph, rows):
            z, found = await _walk(pipeline, inference, graph, mu, steps, 1 + 2 * density_weight)
            decoded = await decode(pipeline, inference, z)
            needed = with_density or bandwidth is not None
            along = await _along(pipeline, inference, snapshot, Frames(z, decoded), bandwidth, needed)
    ids = [snapshot.ids[rows[row]] for row in found]
    return GraphPath(Frames(z, decoded), along, ids, len(rows), len(snapshot))


async def measure(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    frames: Frames,
    bandwidth: Bandwidth | None = None,
) -> Along:
    """Return the length of any path, and the density of the posteriors of a collection along it.

    Without a bandwidth it is 0, the posteriors as they are; if an item has no sigma, it is found as `auto`. Raises
    NoDensity, TooManyPairs, StoreError.
    """
    with store.searches.admit(2):
        async with store.snapshots.lent(collection.name, deadline=inference.deadline) as [snapshot]:
            snapshot.collection.of_model(collection.digest)
            return await _along(pipeline, inference, snapshot, frames, bandwidth)


async def _along(
    pipeline: Pipeline,
    inference: Inference,
    snapshot: Snapshot,
    frames: Frames,
    bandwidth: Bandwidth | None,
    needed: bool = True,
) -> Along:
    if bandwidth is None:
        bandwidth = 0.0 if snapshot.has_sigma.all() and (snapshot.sigma > 0).all() else AUTO
    values, chosen = None, None
    try:
        components, chosen = await components_of(pipeline, inference, snapshot, bandwidth, filtered=False)
        values, _ = await evaluate(pipeline, inference, frames.z, components, [-1] * len(frames.z))
    except NoDensity:
        if needed:
            raise
    kind = inference.model.kind
    compared = kind.compared(frames.z, frames.decoded)
    work = partial(kind.lengths, compared[:-1], compared[1:])
    return Along(float((await pipeline.offload(compared.nbytes, work)).sum()), values, chosen)


@asynccontextmanager
async def _lent(
    pipeline: Pipeline, store: StoreAccess, inference: Inference, collection: Collection
) -> AsyncIterator[tuple[Snapshot, Graph, Numbers]]:
    """Lend a snapshot with its graph of all items, or of a sample, and the rows of these. One graph is made at a time.

    Nobody who waits for that keeps others from their snapshots. Raises Unusable for an empty collection, StoreError.
    """
    name, deadline = collection.name, inference.deadline
    async with store.snapshots.lent(name, deadline=deadline) as [snapshot]:
        snapshot.collection.of_model(collection.digest)
        if not len(snapshot):
            raise Unusable(f"the collection {name!r} has no items, so it has no paths; add items first")
        if GRAPH in snapshot.results:
            yield snapshot, *snapshot.results[GRAPH]
            return
    await in_time(store.graph_turn.acquire(), deadline, LATE)
    try:
        async with store.snapshots.lent(name, deadline=deadline) as [snapshot]:
            snapshot.collection.of_model(collection.digest)
            if GRAPH not in snapshot.results:
                keep(snapshot, GRAPH, await in_time(_made(pipeline, inference, snapshot), deadline, LATE))
            yield snapshot, *snapshot.results[GRAPH]
    finally:
        store.graph_turn.release()


async def _made(pipeline: Pipeline, inference: Inference, snapshot: Snapshot) -> tuple[Graph, Numbers]:
    kind = inference.model.kind
    most = MOST_TRAINING_ITEMS if snapshot.collection.read_only else MOST_ITEMS
    rows = sample_of(len(snapshot), min(most, max(1, MOST_BYTES // (4 * kind.compared_numbers))))
    mu = np.ascontiguousarray(snapshot.mu[rows])
    k = min(NEIGHBORS + 1, len(mu))  # each is its own neighbour, too
    parts = [partial(nearest, mu[first : first + BLOCK], mu, k) for first in range(0, len(mu), BLOCK)]
    neighbors = np.concatenate(await in_turns(pipeline, inference, parts))
    pairs = await pipeline.offload(LONG, partial(neighbor_pairs, mu, neighbors))
    ends = np.empty((len(mu), kind.compared_numbers), np.float32)
    size = min(DECODED_AT_ONCE, pipeline.max_items)
    for first in range(0, len(mu), size):
        part = slice(first, first + size)
        ends[part] = await _compared(pipeline, inference, mu[part])
    compared = [
        partial(_lengths_of_pairs, kind, ends, pairs[first : first + PAIRS_AT_ONCE])
        for first in range(0, len(pairs), PAIRS_AT_ONCE)
    ]
    length = np.concatenate([np.empty(0), *await in_turns(pipeline, inference, compared)])
    return Graph(mu, pairs, length), rows


async def _compared(pipeline: Pipeline, inference: Inference, z: Floats) -> Floats:
    """Return what the lengths between latents (N, D) are measured by, (N, P). Raises BatcherError."""
    kind = inference.model.kind
    return kind.compared(z, await pipeline.decode(z, inference) if kind.compares_decoded else None)


def _lengths_of_pairs(kind: ServedKind, ends: Floats, pairs: Numbers) -> Doubles:
    return kind.lengths(ends[pairs[:, 0]], ends[pairs[:, 1]])


async def _walk(
    pipeline: Pipeline, inference: Inference, graph: Graph, ends: Floats, steps: int, power: float
) -> tuple[Floats, list[int]]:
    """Return the latents of the path between two points (2, D), and the rows of the graph that it goes through."""
    k = min(NEIGHBORS, len(graph.mu))
    near = await pipeline.offload(graph.mu.nbytes * 4, partial(nearest, ends, graph.mu, k))  # (2, k)
    corners = np.ascontiguousarray(np.concatenate([ends, graph.mu[near[0]], graph.mu[near[1]]]))
    size = min(len(corners), pipeline.max_items)
    parts = [corners[first : first + size] for first in range(0, len(corners), size)]
    compared = np.concatenate([await _compared(pipeline, inference, part) for part in parts])
    pairs = np.stack([np.repeat([0, 1], k), np.arange(2, 2 + 2 * k)], axis=1)  # each end with its nearest items
    to_items = await pipeline.offload(LONG, partial(_lengths_of_pairs, inference.model.kind, compared, pairs))
    first, last = to_items[:k], to_items[k:]
    work = partial(shortest_path, graph, (near[0], near[1]), (first, last), power)
    rows, length = await pipeline.offload(LONG, work)
    z = resampled(np.concatenate([ends[:1], graph.mu[rows], ends[1:]]), length, steps)
    return z, rows
