"""The latent store with admission control and deadlines, as operations use it.

Knows nothing of HTTP, pictures or models.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from service.inference.deadline import in_time
from service.operations.admission import Admission
from service.operations.snapshots import Snapshots
from service.store import LatentStore
from service.store.directions import Direction
from service.store.filters import Condition
from service.store.interface import Collection, Deleted, Found, IfExists, Items, Patched, Search, UnknownItem, Upserted

LATE = "the deadline passed before the store had answered"
# Most directions that are made at the same time: each holds up to 20,000 vectors in memory.
MOST_FITS = 2
DOUBT = f"{LATE}; the change may or may not have been made"


class StoreAccess:
    """A latent store behind admission. All methods raise StoreError, Overloaded and DeadlineExceeded.

    `search`, `upsert` and `snapshots` are the exception: pictures are encoded for them, so their callers ask `searches` or
    `writes` for admission before that. Who makes a direction asks `fits`.
    """

    def __init__(self, store: LatentStore, max_rows: int) -> None:
        """`max_rows`: how many rows of each kind, reads, searches and writes, may be under way."""
        self.store = store  # for work of our own, which is never refused
        self.reads, self.searches, self.writes = Admission(max_rows), Admission(max_rows), Admission(max_rows)
        self.fits = Admission(MOST_FITS)
        self.graph_turn = asyncio.Lock()  # held while the graph of a collection is made
        self.snapshots = Snapshots(store)  # callers ask `searches` for admission before

    async def collections(self, deadline: float | None = None) -> list[Collection]:
        """Return all collections, by name."""
        with self.reads.admit(1):
            return await in_time(self.store.collections(), deadline, LATE)

    async def collection(self, name: str, deadline: float | None = None) -> Collection:
        """Return one collection. Raises UnknownCollection."""
        with self.reads.admit(1):
            return await in_time(self.store.collection(name), deadline, LATE)

    async def create(self, collection: Collection, deadline: float | None = None) -> Collection:
        """Make a collection, or change the metric and the description of one. Raises ModelMismatch."""
        with self.writes.admit(1):
            return await in_time(self.store.create(collection), deadline, DOUBT)

    async def drop(self, name: str, deadline: float | None = None) -> Collection:
        """Delete a collection with its items, and return what it was. Raises UnknownCollection."""
        with self.writes.admit(1):
            return await in_time(self.store.drop(name), deadline, DOUBT)

    async def put_direction(self, collection: Collection, direction: Direction, deadline: float | None = None) -> None:
        """Add a direction to a collection that was read before, or replace the one that has its name.

        Raises UnknownCollection, CollectionReplaced, DirectionsFull.
        """
        with self.writes.admit(1):
            put = self.store.put_direction(collection.name, collection.digest, direction, collection.number)
            await in_time(put, deadline, DOUBT)

    async def directions(self, name: str, deadline: float | None = None) -> list[Direction]:
        """Return all directions of a collection, sorted by name. Raises UnknownCollection."""
        with self.reads.admit(1):
            return await in_time(self.store.directions(name), deadline, LATE)

    async def directions_of(
        self, collection: Collection, names: Sequence[str], deadline: float | None = None
    ) -> list[Direction]:
        """Return the directions with these names, in this order, of a collection that was read before.

        Raises UnknownCollection, UnknownDirection, and ModelMismatch if the collection has been made anew.
        """
        with self.reads.admit(1):
            return await in_time(self.store.directions(collection.name, names, collection.digest), deadline, LATE)

    async def direction(self, name: str, direction: str, deadline: float | None = None) -> Direction:
        """Return one direction. Raises UnknownCollection, UnknownDirection."""
        with self.reads.admit(1):
            (found,) = await in_time(self.store.directions(name, [direction]), deadline, LATE)
            return found

    async def delete_direction(self, name: str, direction: str, deadline: float | None = None) -> Direction:
        """Delete a direction, and return what it was. Raises UnknownCollection, UnknownDirection."""
        with self.writes.admit(1):
            return await in_time(self.store.delete_direction(name, direction), deadline, DOUBT)

    async def item(self, name: str, id: str, deadline: float | None = None) -> Items:
        """Return one item, a block of one row. Raises UnknownCollection, UnknownItem."""
        with self.reads.admit(1):
            found = await in_time(self.store.get(name, [id]), deadline, LATE)
        if not found.ids:
            raise UnknownItem(name, id)
        return found

    async def items(self, collection: Collection, ids: Sequence[str], deadline: float | None = None) -> Items:
        """Return items by their ids, each once, in the order of the ids, from a collection that was read before.

        Raises UnknownCollection, UnknownItem with the index of the id, and ModelMismatch if the collection has been made anew.
        """
        once = list(dict.fromkeys(ids))
        with self.reads.admit(len(once)):
            found = await in_time(self.store.get(collection.name, once), deadline, LATE)
            (await in_time(self.store.collection(collection.name), deadline, LATE)).of_model(collection.digest)
        missing = set(once) - set(found.ids)
        for i, id in enumerate(ids):
            if id in missing:
                error = UnknownItem(collection.name, id)
                error.item = i
                raise error
        return found

    async def picture(self, name: str, id: str, deadline: float | None = None) -> bytes:
        """Return the original of an item. Raises UnknownCollection, UnknownItem, NoPicture."""
        with self.reads.admit(1):
            return await in_time(self.store.picture(name, id), deadline, LATE)

    async def scan(
        self,
        name: str,
        after: str,
        limit: int,
        filter: tuple[Condition, ...] = (),
        deadline: float | None = None,
        strict: bool = False,
    ) -> Items:
        """Return up to `limit` items in the order of their ids, from the first after `after`.

        Raises UnknownCollection, and UnknownKey if `strict`.
        """
        with self.reads.admit(1):
            return await in_time(self.store.scan(name, after, limit, filter, strict), deadline, LATE)

    async def delete(self, name: str, id: str, deadline: float | None = None) -> int:
        """Delete an item, and return the sequence number of the change. Raises UnknownCollection, UnknownItem."""
        with self.writes.admit(1):
            return await in_time(self.store.delete(name, id), deadline, DOUBT)

    async def delete_ids(self, name: str, ids: Sequence[str], deadline: float | None = None) -> Deleted:
        """Delete those of these items that exist, all or none. Raises UnknownCollection."""
        with self.writes.admit(1):
            return await in_time(self.store.delete_ids(name, ids), deadline, DOUBT)

    async def delete_matching(
        self,
        name: str,
        filter: tuple[Condition, ...],
        after: str,
        limit: int,
        deadline: float | None = None,
        strict: bool = False,
    ) -> Deleted:
        """Delete what `scan` would return. Raises UnknownCollection, UnknownKey."""
        with self.writes.admit(1):
            return await in_time(self.store.delete_matching(name, filter, after, limit, strict), deadline, DOUBT)

    async def patch(self, name: str, id: str, patch: dict[str, Any], deadline: float | None = None) -> Patched:
        """Change the metadata of an item by a merge patch. Raises UnknownItem, BadItem, MetadataTooLarge."""
        with self.writes.admit(1):
            return await in_time(self.store.patch(name, id, patch), deadline, DOUBT)

    async def search(self, name: str, digest: str, search: Search, deadline: float | None = None) -> Found:
        """Return the nearest to each query, for a caller that `searches` has admitted. Raises ModelMismatch, UnknownItem."""
        return await in_time(self.store.search(name, digest, search), deadline, LATE)

    async def upsert(
        self, name: str, digest: str, items: Items, if_exists: IfExists = "replace", deadline: float | None = None
    ) -> Upserted:
        """Add or replace items, for a caller that `writes` has admitted. Raises ItemsExist, PicturesFull."""
        return await in_time(self.store.upsert(name, digest, items, if_exists), deadline, DOUBT)
