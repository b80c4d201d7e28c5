"""A store that passes every call on to another one: what stores that only add something to another have in common."""

from collections.abc import Sequence
from typing import Any

from service.store.directions import Direction
from service.store.filters import Condition
from service.store.interface import Collection, Deleted, Found, IfExists, Items, LatentStore, Patched, Search, Upserted
from service.store.snapshot import Snapshot, Wanted


class ForwardingStore(LatentStore):
    """Passes every call on. Subclasses override methods, or choose the store of a collection: `to_read` and `to_change`."""

    def __init__(self, store: LatentStore) -> None:
        self._store = store

    async def to_read(self, name: str) -> LatentStore:
        """Return the store that has a collection. May raise StoreError."""
        return self._store

    def to_change(self, name: str) -> LatentStore:
        """Return the store in which a collection can be changed. May raise StoreError."""
        return self._store

    async def open(self) -> None:
        await self._store.open()

    def check(self) -> None:
        self._store.check()

    async def close(self) -> None:
        await self._store.close()

    # --- changes

    async def create(self, collection: Collection) -> Collection:
        return await self.to_change(collection.name).create(collection)

    async def drop(self, name: str) -> Collection:
        return await self.to_change(name).drop(name)

    async def put_direction(self, name: str, digest: str, direction: Direction, number: int | None = None) -> None:
        await self.to_change(name).put_direction(name, digest, direction, number)

    async def delete_direction(self, name: str, direction: str) -> Direction:
        return await self.to_change(name).delete_direction(name, direction)

    async def upsert(self, name: str, digest: str, items: Items, if_exists: IfExists = "replace") -> Upserted:
        return await self.to_change(name).upsert(name, digest, items, if_exists)

    async def patch(self, name: str, id: str, patch: dict[str, Any]) -> Patched:
        return await self.to_change(name).patch(name, id, patch)

    async def delete_ids(self, name: str, ids: Sequence[str]) -> Deleted:
        return await self.to_change(name).delete_ids(name, ids)

    async def delete_matching(
        self, name: str, filter: tuple[Condition, ...], after: str = "", limit: int = 100, strict: bool = False
    ) -> Deleted:
        return await self.to_change(name).delete_matching(name, filter, after, limit, strict)

    # --- reads

    async def collections(self) -> list[Collection]:
        return await self._store.collections()

    async def collection(self, name: str) -> Collection:
        return await (await self.to_read(name)).collection(name)

    async def directions(self, name: str, names: Sequence[str] | None = None, digest: str | None = None) -> list[Direction]:
        return await (await self.to_read(name)).directions(name, names, digest)

    async def get(self, name: str, ids: Sequence[str]) -> Items:
        return await (await self.to_read(name)).get(name, ids)

    async def picture(self, name: str, id: str) -> bytes:
        return await (await self.to_read(name)).picture(name, id)

    async def search(self, name: str, digest: str, search: Search) -> Found:
        return await (await self.to_read(name)).search(name, digest, search)

    async def scan(
        self, name: str, after: str = "", limit: int = 100, filter: tuple[Condition, ...] = (), strict: bool = False
    ) -> Items:
        return await (await self.to_read(name)).scan(name, after, limit, filter, strict)

    async def snapshots(
        self, name: str, wanted: Sequence[Wanted], known: Sequence[Snapshot | None], max_bytes: int
    ) -> list[Snapshot]:
        return await (await self.to_read(name)).snapshots(name, wanted, known, max_bytes)
