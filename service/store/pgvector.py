"""The latent store in PostgreSQL with the extension vector: any number of replicas, one database.

While the database is away, everything is tried again for a while and then said to be unavailable; when it is back, so is
the store. Knows nothing of HTTP.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from service.store import pgvector_work as work
from service.store.filters import Condition
from service.store.interface import (
    Changes,
    Collection,
    DiskFull,
    Found,
    Items,
    LatentStore,
    Search,
    StoreUnavailable,
    StoreUnusable,
)
from service.store.pgvector_schema import Connection, migrate
from service.store.pgvector_search import search

log = logging.getLogger(__name__)

# connections for all that reads, and for all that writes: writers wait for each other, and nobody else for them
READERS, WRITERS = 8, 4
# how long a request waits for a database that is away, and between two looks at it
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.1
CONNECT_SECONDS = 3
# a pool that has given up connecting tries again for whoever asks next; who has waited long enough only looks
ATTEMPT_SECONDS = 1.0
LOOK_SECONDS = 0.05
# a network that swallows everything is noticed after so many milliseconds
NETWORK_MS = 10_000

FORBIDDEN = (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)
CORRUPT = (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted)
CROSSED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable)

T = TypeVar("T")


class PgvectorStore(LatentStore):
    """See the module."""

    def __init__(self, address: str, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._migrated = False
        self._away = False  # what the last one found who asked
        self._pool: ConnectionPool[Any] = ConnectionPool(
            address,
            min_size=0,
            max_size=READERS + WRITERS,
            open=False,
            check=ConnectionPool.check_connection,
            reconnect_timeout=1,
            kwargs={"autocommit": True, "connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": NETWORK_MS},
        )
        self._readers = ThreadPoolExecutor(READERS, "store reader")
        self._writers = ThreadPoolExecutor(WRITERS, "store writer")

    async def open(self) -> None:
        self._pool.open()
        try:
            await self._run(lambda connection: None)
        except StoreUnavailable as error:  # it may come; until then every request says so
            log.warning("%s", error)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        for threads in (self._writers, self._readers):
            await loop.run_in_executor(None, threads.shutdown)
        await loop.run_in_executor(None, self._pool.close)

    async def create(self, collection: Collection) -> Collection:
        return await self._run(partial(work.create, wanted=collection), self._writers)

    async def collections(self) -> list[Collection]:
        return await self._run(work.collections)

    async def collection(self, name: str) -> Collection:
        return (await self._run(partial(work.find, name=name)))[1]

    async def drop(self, name: str) -> Collection:
        return await self._run(partial(work.drop, name=name), self._writers)

    async def upsert(self, name: str, digest: str, items: Items) -> int:
        return await self._run(partial(work.upsert, name=name, digest=digest, items=items), self._writers)

    async def get(self, name: str, ids: Sequence[str]) -> Items:
        return await self._run(partial(work.get, name=name, ids=ids))

    async def delete(self, name: str, id: str) -> int:
        return await self._run(partial(work.delete, name=name, id=id), self._writers)

    async def search(self, name: str, digest: str, search: Search) -> Found:
        return await self._run(partial(_search, name=name, digest=digest, wanted=search))

    async def scan(self, name: str, after: str = "", limit: int = 100, filter: tuple[Condition, ...] = ()) -> Items:
        return await self._run(partial(work.scan, name=name, after=after, limit=limit, filter=filter))

    async def count(self, name: str, filter: tuple[Condition, ...] = ()) -> int:
        return await self._run(partial(work.count, name=name, filter=filter))

    async def changes(self, name: str, since: int = 0, limit: int = 1000) -> Changes:
        return await self._run(partial(work.changes, name=name, since=since, limit=limit))

    async def _run(self, task: Callable[[Connection], T], threads: ThreadPoolExecutor | None = None) -> T:
        """A task in a transaction, on a thread; once more when the connection was lost, which every task stands."""
        try:
            give_up = time.monotonic() + self._patience  # from now on, not from when a thread is free
            return await asyncio.get_running_loop().run_in_executor(threads or self._readers, self._insist, task, give_up)
        except RuntimeError as error:
            raise StoreUnavailable("the store is closed") from error

    def _insist(self, task: Callable[[Connection], T], give_up: float) -> T:
        while True:
            late = self._away and time.monotonic() > give_up
            try:
                with self._pool.connection(
                    timeout=LOOK_SECONDS if late else min(ATTEMPT_SECONDS, self._patience)
                ) as connection:
                    self._away = False
                    if not self._migrated:
                        migrate(connection)
                        self._migrated = True
                    with connection.transaction():
                        return task(connection)
            except psycopg.errors.DiskFull as error:
                raise DiskFull(f"nothing was stored: the database has no room for it: {error}") from error
            except FORBIDDEN as error:
                raise StoreUnusable(f"the database cannot be written to: {_line(error)}") from error
            except CORRUPT as error:
                raise StoreUnusable(f"the database is corrupt ({_line(error)}); restore a backup") from error
            except psycopg.errors.UndefinedTable:  # a collection was dropped in this moment: next time it is not found
                if time.monotonic() > give_up:
                    raise
            except PoolClosed as error:
                raise StoreUnavailable("the store is closed") from error
            except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
                # lost, not there, or in the way of another transaction
                self._away = not isinstance(error, CROSSED)
                if time.monotonic() + PAUSE_SECONDS > give_up:
                    raise StoreUnavailable(f"the database is {'away' if self._away else 'busy'}: {_line(error)}") from error
                time.sleep(PAUSE_SECONDS)


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _search(connection: Connection, name: str, digest: str, wanted: Search) -> Found:
    return search(connection, name, digest, wanted)
