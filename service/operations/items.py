"""Items of a collection: pictures are encoded, posteriors and metadata stored, pages read. Knows nothing of HTTP."""

import uuid
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import BadInput, Unusable
from service.formats.pictures import EncodedPicture, Pictures
from service.inference.pipeline import Inference, Pipeline
from service.operations.collection_model import model_of
from service.operations.store_access import StoreAccess
from service.store.filters import Condition
from service.store.interface import Collection, Items

# So many bytes of metadata weigh as much as a row.
METADATA_PER_ROW = 4096


@dataclass(slots=True)
class Entries:
    """N items or queries; each is a picture, or mu and perhaps sigma, or neither (a query by its id)."""

    ids: list[str | None]
    images: list[EncodedPicture | None]
    mu: NDArray[np.float32]  # (N, D), 0 where there is none
    sigma: NDArray[np.float32]  # the same
    has_sigma: NDArray[np.bool_]  # (N,)
    metadata: list[bytes]
    keys: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def weight(self) -> int:
        """The rows that these count as while they wait to be stored: one each, and more for long metadata."""
        return len(self) + sum(map(len, self.metadata)) // METADATA_PER_ROW

    @property
    def pictures(self) -> list[int]:
        """Indices of those that are pictures."""
        return [i for i, image in enumerate(self.images) if image is not None]

    def encoded(self, rows: NDArray[np.float32]) -> None:
        """Fill in the posteriors of the pictures, (n, 3, D). Raises Unusable."""
        where = self.pictures
        bad = ~np.isfinite(rows[:, :2]).all(axis=(1, 2))
        if bad.any():  # It would have no distance to anything.
            raise Unusable("the model's mean or sigma for this picture is not finite", where[int(bad.argmax())])
        self.mu[where], self.sigma[where], self.has_sigma[where] = rows[:, 0], rows[:, 1], True

    def items(self) -> Items:
        """Return them as a store takes them; ids are drawn where there are none."""
        ids = [uuid.uuid4().hex if id is None else id for id in self.ids]
        return Items(ids, self.mu, self.sigma, self.has_sigma, self.metadata, frozenset(self.keys))


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of adding items: their ids, drawn ones too, and the sequence number of the change."""

    ids: list[str]
    seq: int


@dataclass(frozen=True, slots=True)
class Page:
    """The first `count` of the items; `cursor` is the id after which the next page starts, None on the last one."""

    items: Items
    count: int
    cursor: str | None


async def encode_entries(pipeline: Pipeline, inference: Inference, collection: Collection, entries: Entries) -> None:
    """Fill in the posteriors of what is a picture; `inference` then has the collection's model.

    Raises ModelNotLoaded, BadInput, BatcherError.
    """
    pictures = entries.pictures
    if not pictures:
        return
    inference.model = model_of(pipeline.catalog, collection)
    encoded = [image for image in entries.images if image is not None]
    try:
        entries.encoded(await pipeline.encode(Pictures(encoded), inference))
    except BadInput as error:
        if error.item is not None:
            error.item = pictures[error.item]  # It was the index among the pictures.
        raise
    if inference.warnings:
        inference.warnings.renumbered(pictures)


async def add_items(
    pipeline: Pipeline, store: StoreAccess, inference: Inference, collection: Collection, digest: str, entries: Entries
) -> Stored:
    """Add items, or replace those whose ids are there: all of them or none, and durable when this returns.

    `digest`: of the model whose vectors these are; it must be the collection's. Raises StoreError, Overloaded,
    ModelNotLoaded, BadInput, BatcherError.
    """
    with store.writes.admit(entries.weight):
        await encode_entries(pipeline, inference, collection, entries)
        items = entries.items()
        seq = await store.upsert(collection.name, digest, items, inference.deadline)
    return Stored(items.ids, seq)


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
