"""The latent store in PostgreSQL with the extension vector: any number of replicas share one database.

Its tasks run as `service.store.postgres.transactions` says. Knows nothing of HTTP.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from service.store.directions import Direction
from service.store.filters import Condition
from service.store.interface import (
    MAX_PICTURE_BYTES,
    Collection,
    Deleted,
    Found,
    IfExists,
    Items,
    LatentStore,
    Patched,
    Search,
    StoreUnavailable,
    Upserted,
)
from service.store.postgres import directions, work, writes
from service.store.postgres import search as searches
from service.store.postgres.schema import PgConnection
from service.store.postgres.sides import Side
from service.store.postgres.snapshots import snapshots
from service.store.postgres.transactions import CATALOG, Transactions
from service.store.snapshot import Snapshot, Wanted

log = logging.getLogger(__name__)

# How long a request waits for an unreachable database or for locks.
PATIENCE_SECONDS = 5.0

T = TypeVar("T")


class PgvectorStore(LatentStore):
    """A latent store in PostgreSQL."""

    def __init__(
        self,
        address: str,
        patience: float = PATIENCE_SECONDS,
        max_picture_bytes: int = MAX_PICTURE_BYTES,
        read_only: bool = False,
    ) -> None:
        """`read_only`: the server refuses every change, and the schema is used as it is."""
        self._max_picture_bytes = max_picture_bytes
        self._transactions = Transactions(address, patience, read_only)
        self._writing = self._transactions.writing

    async def open(self) -> None:
        try:
            await self._run(lambda connection: None, CATALOG)
        except StoreUnavailable as error:  # it may become available; until then every request fails with this error
            log.warning("%s", error)

    async def close(self) -> None:
        await self._transactions.close()

    async def create(self, collection: Collection) -> Collection:
        return await self._run(partial(work.create, wanted=collection), collection.name, self._writing)

    async def collections(self) -> list[Collection]:
        return await self._run(work.collections, CATALOG)

    async def collection(self, name: str) -> Collection:
        return (await self._run(partial(work.find, name=name), CATALOG))[1]

    async def drop(self, name: str) -> Collection:
        return await self._run(partial(work.drop, name=name), name, self._writing)

    async def put_direction(self, name: str, digest: str, direction: Direction, number: int | None = None) -> None:
        change = partial(directions.put, name=name, digest=digest, direction=direction, of=number)
        await self._run(change, name, self._writing)

    async def directions(self, name: str, names: Sequence[str] | None = None, digest: str | None = None) -> list[Direction]:
        return await self._run(partial(directions.directions, name=name, names=names, digest=digest), CATALOG)

    async def delete_direction(self, name: str, direction: str) -> Direction:
        change = partial(directions.delete, name=name, direction=direction)
        return await self._run(change, name, self._writing, repeats=False)

    async def upsert(self, name: str, digest: str, items: Items, if_exists: IfExists = "replace") -> Upserted:
        most = self._max_picture_bytes
        change = partial(writes.upsert, name=name, digest=digest, items=items, if_exists=if_exists, max_picture_bytes=most)
        return await self._run(change, name, self._writing, repeats=if_exists == "replace")

    async def patch(self, name: str, id: str, patch: dict[str, Any]) -> Patched:
        return await self._run(partial(writes.patch, name=name, id=id, patch=patch), name, self._writing)

    async def delete_ids(self, name: str, ids: Sequence[str]) -> Deleted:
        return await self._run(partial(writes.delete_ids, name=name, ids=ids), name, self._writing, repeats=False)

    async def delete_matching(
        self, name: str, filter: tuple[Condition, ...], after: str = "", limit: int = 100, strict: bool = False
    ) -> Deleted:
        change = partial(writes.delete_matching, name=name, filter=filter, after=after, limit=limit, strict=strict)
        return await self._run(change, name, self._writing, repeats=False)

    async def picture(self, name: str, id: str) -> bytes:
        return await self._read(partial(work.picture, name=name, id=id), name)

    async def get(self, name: str, ids: Sequence[str]) -> Items:
        return await self._read(partial(work.get, name=name, ids=ids), name)

    async def search(self, name: str, digest: str, search: Search) -> Found:
        return await self._read(partial(searches.search, name=name, digest=digest, wanted=search), name)

    async def scan(
        self, name: str, after: str = "", limit: int = 100, filter: tuple[Condition, ...] = (), strict: bool = False
    ) -> Items:
        task = partial(work.scan, name=name, after=after, limit=limit, filter=filter, strict=strict)
        return await self._read(task, name)

    async def snapshots(
        self, name: str, wanted: Sequence[Wanted], known: Sequence[Snapshot | None], max_bytes: int
    ) -> list[Snapshot]:
        return await self._read(partial(snapshots, name=name, wanted=wanted, known=known, max_bytes=max_bytes), name)

    async def _read(self, task: Callable[[PgConnection], T], name: str) -> T:
        """Run a task that only reads items of a collection."""
        return await self._run(task, name)

    async def _run(self, task: Callable[[PgConnection], T], name: str, side: Side | None = None, repeats: bool = True) -> T:
        """Run a task in a transaction, as a reader unless `side` is given; see `Transactions.run`."""
        return await self._transactions.run(task, name, side or self._transactions.reading, repeats)
