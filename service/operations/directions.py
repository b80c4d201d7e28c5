"""Two sets of items, latents or pictures -> a named direction between them, kept with their collection.

Knows nothing of HTTP.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from service.formats.errors import Unusable
from service.formats.raw_items import RawItems
from service.inference.deadline import in_time
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.latents import directions as latents
from service.latents.directions import Doubles
from service.operations.collection_model import model_of
from service.operations.density import LONG
from service.operations.store_access import StoreAccess
from service.store.directions import Direction, Side
from service.store.filters import Condition
from service.store.interface import Collection, Floats, UnknownItem
from service.store.snapshot import Snapshot, Wanted

# The items of a side: at least so many, so that one can be held out, and at most so many, else a sample is taken.
FEWEST, MOST = 2, 10_000
T = TypeVar("T")
LATE = "the deadline passed before the direction was made"


class BadSides(Exception):
    """The two sides of a direction cannot be used as they are."""


@dataclass(frozen=True, slots=True)
class Given:
    """One side of a direction as a request states it: a filter with its conditions, or ids, pictures, or latents (N, D)."""

    filter: dict[str, Any] | None = None
    conditions: tuple[Condition, ...] = ()
    ids: tuple[str, ...] = ()
    raw: tuple[Any, ...] = ()  # data as they were sent, see `RawItems`
    sent_as: str = "images"  # the key of the data in the request
    latents: Floats | None = None

    def described(self, found: int, n: int) -> Side:
        """Return what is kept of it."""
        if self.filter is not None:
            return Side("filter", found, n, self.filter)
        return Side("ids" if self.ids else self.sent_as if self.raw else "latents", found, n)


@dataclass(slots=True)
class _Sample:
    """The vectors of a side that are used, and how many there were."""

    mu: Floats  # (N, D)
    found: int


def _sample(snapshot: Snapshot) -> _Sample:
    """Return the MOST items whose ids have the smallest hashes, by these: which they are depends on nothing but the ids."""
    ranks = [int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest()) for id in snapshot.ids]
    return _Sample(snapshot.mu[np.argsort(np.array(ranks, np.uint64), kind="stable")[:MOST]], len(snapshot))


async def make_direction(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    name: str,
    given: tuple[Given, Given],
    method: str = "mean_difference",
    orthogonal_to: Sequence[str] = (),
) -> Direction:
    """Make a direction from the mu of both sides, (positive, negative), and keep it, replacing another one of its name.

    Of a side with more than MOST items, those with the smallest hashes of their ids are used. The order of the hashes also
    decides which items are held out together; pictures and latents keep their own order. All stored items are those of one
    state, which `seq` of the direction names. Raises BadSides, NoDirection, StoreError, UnknownKey, Overloaded,
    DeadlineExceeded, ModelNotLoaded, BadInput, BatcherError.
    """
    collection.to_change()  # before anything is computed
    if name in orthogonal_to:
        raise BadSides(f"orthogonal_to names {name!r} itself; leave it out")
    deadline = inference.deadline
    with store.fits.admit(1):
        others = [one.vector.astype(np.float64) for one in await store.directions_of(collection, orthogonal_to, deadline)]
        samples = await _encode(pipeline, inference, collection, given)
        seq = await _read(pipeline, store, collection, given, samples, deadline)
        for word, sample in zip(("positive", "negative"), samples, strict=True):
            if (count := len(sample.mu)) < FEWEST:
                items = f"{count} item{'s' * (count != 1)}"
                raise BadSides(f"{word} has {items}; at least {FEWEST} are needed, so that one of them can be held out")
        positive, negative = (sample.mu.astype(np.float64) for sample in samples)
        vector = (await _compute(partial(latents.fit, positive, negative, method, others), deadline)).astype(np.float32)
        projections = latents.project(np.concatenate([positive, negative]), vector.astype(np.float64))
        made = Direction(
            name,
            vector,
            unit=float(projections.std()),
            method=method,
            auc=await _auc(positive, negative, method, others, deadline),
            seq=seq,
            positive=given[0].described(samples[0].found, len(positive)),
            negative=given[1].described(samples[1].found, len(negative)),
            orthogonal_to=tuple(orthogonal_to),
        )
        await store.put_direction(collection, made, deadline)
    return made


async def _compute(work: Callable[[], T], deadline: float | None) -> T:
    """Return the result of work that takes up to seconds, done by a thread."""
    return await in_time(asyncio.to_thread(work), deadline, LATE)


async def _auc(
    positive: Doubles, negative: Doubles, method: str, others: Sequence[Doubles], deadline: float | None
) -> float | None:
    """Return the AUC of held-out items, or None if those that are left in some turn have no direction."""
    right, pairs = 0.0, 0
    for fold in range(latents.folds_of(positive, negative)):  # one at a time, so that a caller who leaves ends it
        try:
            turn = await _compute(partial(latents.held_out, fold, positive, negative, method, others), deadline)
        except latents.NoDirection:
            return None
        right, pairs = right + turn[0], pairs + turn[1]
    return right / pairs


async def _encode(
    pipeline: Pipeline, inference: Inference, collection: Collection, given: tuple[Given, Given]
) -> list[_Sample]:
    """Return samples of the sides with the mu of those that are pictures or latents; the others are empty.

    Errors and warnings number the pictures through both sides. Raises ModelNotLoaded, BadInput, BatcherError.
    """
    mu = [np.empty((0, collection.dim), np.float32) if one.latents is None else one.latents for one in given]
    raw = [item for one in given for item in one.raw]
    if raw:
        inference.model = model_of(pipeline.catalog, collection)
        rows = await pipeline.encode(RawItems(raw), inference)
        bad = ~np.isfinite(rows[:, 0]).all(axis=1)
        if bad.any():
            raise Unusable("the model's mean for this picture is not finite", int(bad.argmax()))
        first = len(given[0].raw)
        for side, own in enumerate((rows[:first, 0], rows[first:, 0])):
            mu[side] = own if len(own) else mu[side]
    return [_Sample(one, len(one)) for one in mu]


async def _read(
    pipeline: Pipeline,
    store: StoreAccess,
    collection: Collection,
    given: tuple[Given, Given],
    samples: list[_Sample],
    deadline: float | None,
) -> int:
    """Fill in the samples of the sides that are filters or ids, from one state, and return its sequence number.

    Raises UnknownKey, then UnknownItem, then BadSides if an item is on both sides; SnapshotTooLarge, CollectionReplaced.
    """
    stored = [side for side, one in enumerate(given) if one.filter is not None or one.ids]
    if not stored:
        return collection.seq
    wanted = [Wanted(given[side].conditions, ids=given[side].ids or None) for side in stored]
    with store.searches.admit(1):
        async with store.snapshots.lent_of(collection.name, wanted, deadline, strict=True) as snapshots:
            for snapshot in snapshots:
                snapshot.collection.of_number(collection.number)
            await pipeline.offload(LONG, partial(_check, collection.name, snapshots))
            for side, snapshot in zip(stored, snapshots, strict=True):
                samples[side] = await pipeline.offload(LONG, partial(_sample, snapshot))
            return snapshots[0].seq


def _check(collection: str, snapshots: Sequence[Snapshot]) -> None:
    """Raise UnknownItem if an id was not found, and BadSides if an item is in two snapshots."""
    for one in snapshots:
        if missing := set(one.wanted.ids or ()).difference(one.ids):
            raise UnknownItem(collection, next(id for id in one.wanted.ids or () if id in missing))
    if len(snapshots) == 2 and (both := set(snapshots[0].ids).intersection(snapshots[1].ids)):
        raise BadSides(f"the item {min(both)!r} is on both sides; an item may be positive or negative, not both")
