"""Two sets of items, latents or pictures -> a named direction between them, kept with their collection.

Knows nothing of HTTP.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Unusable
from service.formats.pictures import EncodedPicture, Pictures
from service.inference.deadline import in_time
from service.inference.pipeline import Inference, Pipeline
from service.latents import directions as latents
from service.operations.collection_model import model_of
from service.operations.store_access import StoreAccess
from service.store.directions import Direction, Side
from service.store.filters import Condition
from service.store.interface import Collection, Floats, Items, UnknownItem

# The items of a side: at least so many, so that one can be held out, and at most so many, else a sample is taken.
FEWEST, MOST = 2, 10_000
# Items that are read at once.
PAGE = 1000
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
    images: tuple[EncodedPicture, ...] = ()
    latents: Floats | None = None

    def described(self, found: int, n: int) -> Side:
        """Return what is kept of it."""
        if self.filter is not None:
            return Side("filter", found, n, self.filter)
        return Side("ids" if self.ids else "images" if self.images else "latents", found, n)


@dataclass(slots=True)
class _Sample:
    """The MOST items of a stream whose ids have the smallest hashes: which they are depends on nothing but the ids."""

    mu: Floats  # (N, D)
    ranks: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))  # (N,)
    found: int = 0

    def add(self, items: Items) -> None:
        self.found += len(items)
        ranks = [int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest()) for id in items.ids]
        self.ranks = np.concatenate([self.ranks, np.array(ranks, np.uint64)])
        self.mu = np.concatenate([self.mu, items.mu])
        first = np.argsort(self.ranks, kind="stable")[:MOST]
        self.ranks, self.mu = self.ranks[first], self.mu[first]


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
    decides which items are held out together; pictures and latents keep their own order. Raises BadSides, NoDirection,
    StoreError, UnknownKey, Overloaded, DeadlineExceeded, ModelNotLoaded, BadInput, BatcherError.
    """
    if name in orthogonal_to:
        raise BadSides(f"orthogonal_to names {name!r} itself; leave it out")
    deadline = inference.deadline
    with store.fits.admit(1):
        others = [one.vector.astype(np.float64) for one in await store.directions_of(collection, orthogonal_to, deadline)]
        await _check_overlap(store, collection, given, deadline)
        samples = await _encode(pipeline, inference, collection, given)
        for sample, own, other in zip(samples, given, reversed(given), strict=True):
            await _read(pipeline, store, collection, own, other, sample, deadline)
        for word, sample in zip(("positive", "negative"), samples, strict=True):
            if (count := len(sample.mu)) < FEWEST:
                items = f"{count} item{'s' * (count != 1)}"
                raise BadSides(f"{word} has {items}; at least {FEWEST} are needed, so that one of them can be held out")
        positive, negative = (sample.mu.astype(np.float64) for sample in samples)
        right, pairs = 0.0, 0
        for fold in range(latents.folds_of(positive, negative)):  # one at a time, so that a caller who leaves ends it
            own_right, own_pairs = await _compute(
                partial(latents.held_out, fold, positive, negative, method, others), deadline
            )
            right, pairs = right + own_right, pairs + own_pairs
        vector = (await _compute(partial(latents.fit, positive, negative, method, others), deadline)).astype(np.float32)
        projections = latents.project(np.concatenate([positive, negative]), vector.astype(np.float64))
        made = Direction(
            name,
            vector,
            unit=float(projections.std()),
            method=method,
            auc=right / pairs,
            seq=collection.seq,
            positive=given[0].described(samples[0].found, len(positive)),
            negative=given[1].described(samples[1].found, len(negative)),
            orthogonal_to=tuple(orthogonal_to),
        )
        await store.put_direction(collection, made, deadline)
    return made


async def _compute(work: Callable[[], T], deadline: float | None) -> T:
    """Return the result of work that takes up to seconds, done by a thread."""
    return await in_time(asyncio.to_thread(work), deadline, LATE)


async def _check_overlap(
    store: StoreAccess, collection: Collection, given: tuple[Given, Given], deadline: float | None
) -> None:
    """Raise BadSides if an item is on both sides, both of which are filters or both ids; before that UnknownKey."""
    positive, negative = given
    others = frozenset(negative.ids)
    both = [id for id in positive.ids if id in others]
    if positive.filter is not None and negative.filter is not None:
        filter = positive.conditions + negative.conditions
        both = (await store.scan(collection.name, "", 1, filter, deadline, strict=True)).ids
    if both:
        raise _on_both_sides(both[0])


def _on_both_sides(id: str) -> BadSides:
    return BadSides(f"the item {id!r} is on both sides; an item may be positive or negative, not both")


async def _encode(
    pipeline: Pipeline, inference: Inference, collection: Collection, given: tuple[Given, Given]
) -> tuple[_Sample, _Sample]:
    """Return samples of the sides with the mu of those that are pictures or latents; the others are empty.

    Errors and warnings number the pictures through both sides. Raises ModelNotLoaded, BadInput, BatcherError.
    """
    mu = [np.empty((0, collection.dim), np.float32) if one.latents is None else one.latents for one in given]
    pictures = [image for one in given for image in one.images]
    if pictures:
        inference.model = model_of(pipeline.catalog, collection)
        rows = await pipeline.encode(Pictures(pictures), inference)
        bad = ~np.isfinite(rows[:, 0]).all(axis=1)
        if bad.any():
            raise Unusable("the model's mean for this picture is not finite", int(bad.argmax()))
        first = len(given[0].images)
        for side, own in enumerate((rows[:first, 0], rows[first:, 0])):
            mu[side] = own if len(own) else mu[side]
    return _Sample(mu[0], found=len(mu[0])), _Sample(mu[1], found=len(mu[1]))


async def _read(
    pipeline: Pipeline,
    store: StoreAccess,
    collection: Collection,
    own: Given,
    other: Given,
    sample: _Sample,
    deadline: float | None,
) -> None:
    """Fill in the sample of a side that is a filter or ids. Raises BadSides, UnknownItem, UnknownKey, StoreError."""
    for i in range(0, len(own.ids), PAGE):
        try:
            sample.add(await store.items(collection, own.ids[i : i + PAGE], deadline))
        except UnknownItem as error:
            error.item = None  # both sides have such a number
            raise
    if own.filter is None:
        return
    others, after = frozenset(other.ids), ""
    while True:
        page = await store.scan(collection.name, after, PAGE, own.conditions, deadline, strict=not after)
        if both := others.intersection(page.ids):
            raise _on_both_sides(min(both))
        await pipeline.offload(sample.mu.nbytes, partial(sample.add, page))
        if len(page) < PAGE:
            return
        after = page.ids[-1]
