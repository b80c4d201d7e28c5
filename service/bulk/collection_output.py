"""Puts posteriors into a collection of the store, each id once. Knows nothing of how they are computed, nor of databases.

The store itself records what is done: ids that are there are not encoded again, so a killed load goes on where it was.
"""

from collections.abc import Awaitable, Callable

import numpy as np
import orjson

from service.bulk.batch_encoding import differing
from service.bulk.encoded import Counts, Encoded, Unreadable
from service.operations.load_sources import LoadError, PictureBatch
from service.store.interface import Collection, IfExists, Items, LatentStore, MetadataTooLarge, UnknownCollection
from service.store.metadata import metadata_bytes, usable_keys

# So many items that are there already are encoded again, to see whether that gives what is stored.
CHECKED = 64


class CollectionOutput:
    """A collection that is filled. `progress` is told how many items are done."""

    def __init__(
        self,
        store: LatentStore,
        collection: Collection,
        encode: Callable[[PictureBatch], Awaitable[Encoded]],
        progress: Callable[[int], object],
        counts: Counts,
        replace: bool = False,
        new: bool = False,
    ) -> None:
        """Change nothing yet. `encode` encodes a batch, for a comparison with what is stored.

        `replace`: also encode items that are there already, and store those whose posterior or label has changed. A `new`
        collection is made when the first of its items is stored, unless another load has made it by then.
        """
        self._store, self._collection, self._encode = store, collection, encode
        self._progress, self._counts, self._replace, self._new = progress, counts, replace, new
        self._missing, self._compared = new, False

    async def wanted(self, batch: PictureBatch) -> list[PictureBatch]:
        """Return the items of a batch that have to be encoded. Raises LoadError, StoreError."""
        if self._replace:
            return [batch]
        try:
            known = await self._store.get(self._collection.name, batch.ids)
        except UnknownCollection:
            if not self._new:
                raise
            return [batch]
        if not known.ids:
            return [batch]
        if not self._compared:
            await self._compare(batch, known)
            self._compared = True
        there = frozenset(known.ids)
        self._counts.there += len(there)
        self._progress(len(there))
        left = batch.only([i for i, id in enumerate(batch.ids) if id not in there])
        return [left] if left.ids else []

    async def _compare(self, batch: PictureBatch, known: Items) -> None:
        """Raise LoadError if most of the items that are there would get other posteriors now."""
        places = {id: i for i, id in enumerate(batch.ids)}
        some = known.ids[:: max(1, len(known.ids) // CHECKED)]
        items = (await self._encode(batch.only([places[id] for id in some]))).items
        stored = await self._store.get(self._collection.name, items.ids)
        if items.ids == stored.ids and 2 * (others := differing(items, stored)) > len(items):
            raise LoadError(
                f"{others} of {len(items)} items that are already in {self._collection.name!r}, such as {items.ids[0]!r}, "
                "have other posteriors than they would get now: they are others, or were encoded with another --background "
                "or --invert. Use the same options, add --replace to encode all of them again, or load into a new collection"
            )

    async def write(self, encoded: Encoded) -> None:
        """Store the items of a batch. Raises StoreError."""
        self._progress(len(encoded.noticed.unreadable))
        items, done = encoded.items, len(encoded.items)
        if self._replace and not self._new and items.ids:
            items = await self._changed(items)
        if not items.ids:
            self._progress(done)
            return
        if self._missing:
            await self._store.create(self._collection)
            self._missing = False
        # Another load may have stored some of them since they were found to be missing.
        if_exists: IfExists = "replace" if self._replace else "skip"
        result = await self._store.upsert(self._collection.name, self._collection.digest, items, if_exists)
        self._counts.added += len(result.added)
        self._counts.replaced += len(result.replaced)
        self._counts.there += len(result.skipped)
        self._progress(done)

    async def finish(self) -> None:
        """Do nothing: all is stored."""

    async def _changed(self, items: Items) -> Items:
        """Return the items that are new or differ from the stored ones; metadata that others added is kept."""
        known = await self._store.get(self._collection.name, items.ids)
        old, kept, keys = {id: i for i, id in enumerate(known.ids)}, [], set(items.keys)
        for i, id in enumerate(items.ids):
            if id not in old:
                kept.append(i)
                continue
            j = old[id]
            before = orjson.loads(known.metadata[j])
            after = {**before, **orjson.loads(items.metadata[i])}
            same = np.array_equal(items.mu[i], known.mu[j]) and np.array_equal(items.sigma[i], known.sigma[j])
            if same and known.has_sigma[j] and before == after:
                self._counts.there += 1
                continue
            try:
                items.metadata[i] = metadata_bytes(after, what="with what is stored, its metadata")
            except MetadataTooLarge as error:
                self._counts.unreadable.append(Unreadable(id, id, str(error)))
                continue
            keys |= usable_keys(after)
            kept.append(i)
        return Items(
            [items.ids[i] for i in kept], items.mu[kept], items.sigma[kept], items.has_sigma[kept],
            [items.metadata[i] for i in kept], frozenset(keys),
        )  # fmt: skip
