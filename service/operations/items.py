"""Items of a collection: data are encoded, posteriors and metadata stored, pages read. Knows nothing of HTTP."""

import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats.base64_text import base64_bytes
from service.formats.errors import BadInput, Unusable
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.told import labels_of
from service.operations.collection_model import loaded_name, model_of
from service.operations.item_labels import label_entries, of_some
from service.operations.store_access import StoreAccess
from service.store.filters import Condition, Unknown
from service.store.interface import Collection, IfExists, Items, Upserted

# So many bytes of metadata weigh as much as a row.
METADATA_PER_ROW = 4096
# The value of `keep` of a collection that keeps the originals of its pictures.
KEEP = "picture"
# The most items that are deleted in one transaction: this takes about a fifth of a second, in which nobody else can write.
# Also the most ids in a request to delete items.
DELETED_AT_ONCE = 10_000
# An answer lists so many ids of items that were deleted, or that exist already.
LISTED_IDS = 1000


@dataclass(slots=True)
class Entries:
    """N items, queries or points; each is data, or mu and perhaps sigma, or neither (then it is a stored item's id)."""

    ids: list[str | None]
    raw: list[Any | None]  # data as they were sent, see `RawItems`
    mu: NDArray[np.float32]  # (N, D), 0 where there is none
    sigma: NDArray[np.float32]  # the same
    has_sigma: NDArray[np.bool_]  # (N,)
    metadata: list[bytes]
    keys: set[str] = field(default_factory=set)
    unstated: set[int] = field(default_factory=set)  # those whose metadata the caller did not mention

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def weight(self) -> int:
        """The rows that these count as while they wait to be stored: one each, and more for long metadata."""
        return len(self) + sum(map(len, self.metadata)) // METADATA_PER_ROW

    @property
    def data(self) -> list[int]:
        """Indices of those that are data."""
        return [i for i, raw in enumerate(self.raw) if raw is not None]

    def encoded(self, rows: NDArray[np.float32]) -> None:
        """Fill in the posteriors of the data, (n, 3, D). Raises Unusable."""
        where = self.data
        bad = ~np.isfinite(rows[:, :2]).all(axis=(1, 2))
        if bad.any():  # It would have no distance to anything.
            raise Unusable("the model's mean or sigma for this item is not finite", where[int(bad.argmax())])
        self.mu[where], self.sigma[where], self.has_sigma[where] = rows[:, 0], rows[:, 1], True

    def items(self, keep: bool) -> Items:
        """Return them as a store takes them; ids are drawn where there are none. `keep`: with the original pictures."""
        ids = [uuid.uuid4().hex if id is None else id for id in self.ids]
        pictures = [base64_bytes(one) if isinstance(one, str) else one for one in self.raw] if keep else []
        keys, unstated = frozenset(self.keys), frozenset(self.unstated)
        return Items(ids, self.mu, self.sigma, self.has_sigma, self.metadata, keys, unstated=unstated, pictures=pictures)


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of adding items: the ids of all in their order, drawn ones too, and what happened to them."""

    ids: list[str]
    result: Upserted


@dataclass(frozen=True, slots=True)
class DeletedItems:
    """The number of deleted items, the ids of the first of them, and the sequence number of the collection."""

    count: int
    ids: list[str]
    seq: int
    unknown: tuple[Unknown, ...] = ()  # keys of the filter that no item had


@dataclass(frozen=True, slots=True)
class Page:
    """The first `count` of the items; `cursor` is the id after which the next page starts, None on the last one."""

    items: Items
    count: int
    cursor: str | None


async def encode_entries(pipeline: Pipeline, inference: Inference, collection: Collection, entries: Entries) -> None:
    """Fill in the posteriors of what is data; `inference` then has the collection's model.

    Raises ModelNotLoaded, BadInput, BatcherError.
    """
    if inference.label is not None:
        labels_of(model_of(pipeline.catalog, collection), inference.label)
    if entries.data:
        inference.model = model_of(pipeline.catalog, collection)
        await encode_data(pipeline, inference, entries)


async def encode_data(pipeline: Pipeline, inference: Inference, entries: Entries) -> None:
    """Fill in the posteriors of the entries that are data, in one pass. Raises BadInput, BatcherError."""
    where = entries.data
    raw = [one for one in entries.raw if one is not None]
    try:
        entries.encoded(await pipeline.encode(RawItems(raw), of_some(inference, where)))
    except BadInput as error:
        if error.item is not None:
            error.item = where[error.item]  # It was the index among the data.
        raise
    if inference.warnings.found:
        inference.warnings.renumbered(where)


async def add_items(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    digest: str,
    entries: Entries,
    if_exists: IfExists = "replace",
) -> Stored:
    """Add items, or replace those whose ids are there: all of them or none, and durable when this returns.

    `digest`: of the model whose vectors these are; it must be the collection's. The items of a conditional model get their
    labels as metadata. Raises StoreError, Overloaded, ModelNotLoaded, NoSuchLabel, BadInput, BatcherError.
    """
    collection.to_change()  # before anything is encoded
    if entries.data or loaded_name(pipeline.catalog, collection) is not None:
        label_entries(model_of(pipeline.catalog, collection), inference, entries)
    with store.writes.admit(entries.weight):
        await encode_entries(pipeline, inference, collection, entries)
        keep = collection.keep == KEEP and (not entries.data or inference.model.is_pictures)
        texts = sum(len(one) for one in entries.raw if isinstance(one, str)) if keep else 0
        items = await pipeline.offload(texts, partial(entries.items, keep))
        result = await store.upsert(collection.name, digest, items, if_exists, inference.deadline)
    return Stored(items.ids, result)


async def delete_by_filter(
    store: StoreAccess, name: str, filter: tuple[Condition, ...], deadline: float | None = None, strict: bool = False
) -> DeletedItems:
    """Delete every item that matches, in the order of their ids; DELETED_AT_ONCE of them are deleted together or not at all.

    Items that change meanwhile may be deleted or not. Raises StoreError, UnknownKey, DeadlineExceeded.
    """
    count, first, after = 0, list[str](), ""
    unknown: tuple[Unknown, ...] = ()
    while True:
        deleted = await store.delete_matching(name, filter, after, DELETED_AT_ONCE, deadline, strict)
        unknown = unknown or deleted.unknown  # only the first answer has them
        count += len(deleted.ids)
        first += deleted.ids[: LISTED_IDS - len(first)]
        if len(deleted.ids) < DELETED_AT_ONCE:
            return DeletedItems(count, first, deleted.seq, unknown)
        after = deleted.ids[-1]


async def page_of_items(
    store: StoreAccess,
    name: str,
    after: str,
    limit: int,
    filter: tuple[Condition, ...] = (),
    deadline: float | None = None,
    strict: bool = False,
) -> Page:
    """Return up to `limit` items that match, in the order of their ids, from the first after `after`. Raises StoreError."""
    items = await store.scan(name, after, limit + 1, filter, deadline, strict)
    count = min(len(items), limit)
    return Page(items, count, items.ids[count - 1] if len(items) > count else None)
