"""A latent store whose operations are timed. Knows nothing of how anything is stored."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from service.observe.histogram import Histogram
from service.store import LatentStore
from service.store.directions import Direction
from service.store.filters import Condition
from service.store.interface import Collection, Deleted, Found, IfExists, Items, Patched, Search, Upserted
from service.store.snapshot import Snapshot, Wanted


class TimedStore(LatentStore):
    """A store that passes every call on to another one, and measures how long upsert, patch, get, delete and search take."""

    def __init__(self, store: LatentStore, seconds: Mapping[str, Histogram]) -> None:
        """`seconds`: a histogram for each of the five operations, which also counts those that fail."""
        self._store, self._seconds = store, seconds

    async def open(self) -> None:
        await self._store.open()

    def check(self) -> None:
        self._store.check()

    async def close(self) -> None:
        await self._store.close()

    async def create(self, collection: Collection) -> Collection:
        return await self._store.create(collection)

    async def collections(self) -> list[Collection]:
        return await self._store.collections()

    async def collection(self, name: str) -> Collection:
        return await self._store.collection(name)

    async def drop(self, name: str) -> Collection:
        return await self._store.drop(name)

    async def put_direction(self, name: str, digest: str, direction: Direction, number: int | None = None) -> None:
        await self._store.put_direction(name, digest, direction, number)

    async def directions(self, name: str, names: Sequence[str] | None = None, digest: str | None = None) -> list[Direction]:
        return await self._store.directions(name, names, digest)

    async def delete_direction(self, name: str, direction: str) -> Direction:
        return await self._store.delete_direction(name, direction)

    async def scan(
        self, name: str, after: str = "", limit: int = 100, filter: tuple[Condition, ...] = (), strict: bool = False
    ) -> Items:
        return await self._store.scan(name, after, limit, filter, strict)

    async def upsert(self, name: str, digest: str, items: Items, if_exists: IfExists = "replace") -> Upserted:
        with self._timed("upsert"):
            return await self._store.upsert(name, digest, items, if_exists)

    async def patch(self, name: str, id: str, patch: dict[str, Any]) -> Patched:
        with self._timed("patch"):
            return await self._store.patch(name, id, patch)

    async def picture(self, name: str, id: str) -> bytes:
        with self._timed("get"):
            return await self._store.picture(name, id)

    async def delete_ids(self, name: str, ids: Sequence[str]) -> Deleted:
        with self._timed("delete"):
            return await self._store.delete_ids(name, ids)

    async def delete_matching(
        self, name: str, filter: tuple[Condition, ...], after: str = "", limit: int = 100, strict: bool = False
    ) -> Deleted:
        with self._timed("delete"):
            return await self._store.delete_matching(name, filter, after, limit, strict)

    async def get(self, name: str, ids: Sequence[str]) -> Items:
        with self._timed("get"):
            return await self._store.get(name, ids)

    async def search(self, name: str, digest: str, search: Search) -> Found:
        with self._timed("search"):
            return await self._store.search(name, digest, search)

    async def snapshots(
        self, name: str, wanted: Sequence[Wanted], known: Sequence[Snapshot | None], max_bytes: int
    ) -> list[Snapshot]:
        return await self._store.snapshots(name, wanted, known, max_bytes)

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[operation].observe(time.monotonic() - started)
