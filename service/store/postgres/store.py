"""The latent store in PostgreSQL with the extension vector: any number of replicas share one database.

While the database cannot be reached, requests retry for a few seconds and then fail with StoreUnavailable; the store works
again when the database does. Waiting for locks, and for a database that does not answer, is bounded as well. If the caller or
the store gives up, the work is cancelled in the database and the connection is closed. Knows nothing of HTTP.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.errors import LockNotAvailable, QueryCanceled

from service.store.directions import Direction
from service.store.filters import Condition
from service.store.interface import (
    MAX_PICTURE_BYTES,
    Collection,
    Deleted,
    DiskFull,
    Found,
    IfExists,
    Items,
    LatentStore,
    Patched,
    Search,
    StoreBusy,
    StoreUnavailable,
    StoreUnusable,
    Upserted,
)
from service.store.postgres import directions, work, writes
from service.store.postgres import search as searches
from service.store.postgres.cancel_scope import CancelScope, Stopped, bound
from service.store.postgres.connection_pool import ConnectionPool, is_answering
from service.store.postgres.schema import PgConnection, migrate
from service.store.postgres.sides import Side
from service.store.postgres.slots import NoSlot
from service.store.postgres.snapshots import snapshots
from service.store.snapshot import Snapshot, Wanted

log = logging.getLogger(__name__)

# Connections for reading and for writing, and how many of them one collection may use, since waiting for its locks holds a
# connection. A collection whose locks were not available lately may use one: see Slots.
READERS, READERS_OF_ONE = 8, 6
WRITERS, WRITERS_OF_ONE = 6, 2
# The key of requests that concern no collection's own table.
CATALOG = ""
# How long a request waits for an unreachable database or for locks, and the pause between two tries.
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.1
# Time for the answer of the database, beyond the patience that is its own timeout.
ANSWER_SECONDS = 0.5
# How long `close` waits for requests in flight, and then for those that it has stopped.
FINISH_SECONDS, STOP_SECONDS = 0.1, 0.3

FORBIDDEN = (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)
CORRUPT = (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted)
CROSSED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, LockNotAvailable)

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
        self._address, self._patience, self._max_picture_bytes = address, patience, max_picture_bytes
        self._read_only = read_only
        self._migrated = self._is_closed = False
        self._away = ""  # why the database could not be reached at the last try; empty if it could
        self._connections = ConnectionPool(address, read_only)
        self._reading = Side(READERS, READERS_OF_ONE, patience, "store reader", writes=False)
        self._writing = Side(WRITERS, WRITERS_OF_ONE, patience, "store writer", writes=True)
        self._under_way: dict[asyncio.Future[Any], CancelScope] = {}
        self._probe: asyncio.Task[bool] | None = None

    async def open(self) -> None:
        try:
            await self._run(lambda connection: None, CATALOG)
        except StoreUnavailable as error:  # it may become available; until then every request fails with this error
            log.warning("%s", error)

    async def close(self) -> None:
        self._is_closed = True
        for side in (self._reading, self._writing):
            side.slots.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=FINISH_SECONDS)
        for scope in self._under_way.values():
            scope.stop()
        if self._probe is not None:
            self._probe.cancel()
        self._connections.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STOP_SECONDS)
        for side in (self._reading, self._writing):
            side.threads.end()

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
        """Run a task in a transaction on a thread, and again if the connection was lost.

        `name`: the collection whose locks it may need. `repeats`: whether it may run again though it may be done already:
        then its second result would be wrong if it depends on what was there. If the caller is cancelled, so is the task.
        """
        side = side or self._reading
        try:
            give_up = await side.slots.take(name)
        except NoSlot:
            raise self._refusal(name, side) from None
        scope = CancelScope(repeats)
        try:
            future = side.threads.submit(partial(self._insist, task, scope, give_up, side))
        except RuntimeError as error:
            side.slots.leave(name)
            raise StoreUnavailable("the store is closed") from error
        answer = asyncio.wrap_future(future)
        self._under_way[answer] = scope
        answer.add_done_callback(partial(self._ended, name, side))
        try:
            return await self._watched(answer, scope, side)
        except asyncio.CancelledError:
            scope.stop()
            raise

    def _refusal(self, name: str, side: Side) -> StoreUnavailable:
        if self._is_closed:
            return StoreUnavailable("the store is closed")
        if self._away:
            return StoreUnavailable(f"the database cannot be reached: {self._away}")
        what = f"the collection {name!r}" if name else "the list of collections"
        return StoreBusy(f"{what} is locked by another session of the database, or has too many requests{side.unchanged}")

    def _ended(self, name: str, side: Side, answer: "asyncio.Future[Any]") -> None:
        del self._under_way[answer]
        error = answer.exception()  # also marks the exception as retrieved, if the caller has left
        waited = (LockNotAvailable, QueryCanceled) if side.writes else LockNotAvailable
        was_stuck = isinstance(error, StoreBusy) and isinstance(error.__cause__, waited)
        side.slots.leave(name, not isinstance(error, StoreUnavailable | Stopped), was_stuck)

    async def _watched(self, answer: "asyncio.Future[T]", scope: CancelScope, side: Side) -> T:
        """Return the result of a task. Raises StoreUnavailable if its connection, or the whole server, does not answer."""
        while not answer.done():
            await asyncio.wait([answer], timeout=self._patience + ANSWER_SECONDS)
            if answer.done():
                break
            if not scope.has_answered or not await self._is_answering():
                scope.stop()
                raise StoreUnavailable(f"the database does not answer{side.in_doubt}")
        try:
            return answer.result()
        except Stopped:
            raise StoreUnavailable(f"the store is closed{side.in_doubt}") from None

    async def _is_answering(self) -> bool:
        """Return whether the server answers a new connection. Concurrent callers share one try."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.ensure_future(is_answering(self._address))
        return await asyncio.shield(self._probe)

    def _insist(self, task: Callable[[PgConnection], T], scope: CancelScope, give_up: float, side: Side) -> T:
        while True:
            if self._is_closed:
                raise StoreUnavailable("the store is closed")
            try:
                with self._connections.lent() as connection, scope.using(connection):
                    return self._transact(connection, task, scope, give_up, side.writes)
            except psycopg.errors.DiskFull as error:
                raise DiskFull(f"the database has no room left ({_line(error)}){side.unchanged}") from error
            except FORBIDDEN as error:
                raise StoreUnusable(f"the database is not writable: {_line(error)}") from error
            except CORRUPT as error:
                raise StoreUnusable(f"the database is corrupt ({_line(error)}); restore a backup") from error
            except psycopg.errors.UndefinedTable as error:  # just dropped: the next try does not find it
                self._migrated = False
                if time.monotonic() > give_up:
                    raise StoreUnusable(f"a table is missing in the database: {_line(error)}; restore a backup") from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if scope.is_stopped:
                    raise Stopped from error
                self._explain(error, scope, give_up, side)
            if scope.is_stopped:
                raise Stopped
            time.sleep(PAUSE_SECONDS)

    def _transact(
        self, connection: PgConnection, task: Callable[[PgConnection], T], scope: CancelScope, give_up: float, writes: bool
    ) -> T:
        if not (self._migrated or self._read_only):
            with connection.transaction():
                bound(connection, give_up - time.monotonic(), work.INDEX_SECONDS)
                scope.has_answered = True
                migrate(connection)
            self._migrated = True
        with connection.transaction():
            left = give_up - time.monotonic()
            bound(connection, left, left if writes else work.STATEMENT_SECONDS)  # writers get more when they have their lock
            scope.has_answered, self._away = True, ""
            scope.is_committing = False
            result = task(connection)
            scope.is_committing = True
        return result

    def _explain(self, error: Exception, scope: CancelScope, give_up: float, side: Side) -> None:
        """Raise StoreUnavailable or StoreBusy for a lost connection or a conflict, unless there is time for another try."""
        if isinstance(error, QueryCanceled):
            raise StoreBusy(f"the database took too long, or a lock is held in it{side.unchanged}") from error
        if scope.is_committing and not scope.repeats:
            raise StoreUnavailable(f"the connection to the database was lost ({_line(error)}){side.in_doubt}") from error
        in_the_way = isinstance(error, CROSSED)
        self._away = "" if in_the_way else _line(error)
        if time.monotonic() + PAUSE_SECONDS <= give_up:
            return
        if in_the_way:
            raise StoreBusy(f"another session of the database holds a lock ({_line(error)}){side.unchanged}") from error
        doubt = side.in_doubt if scope.has_answered else ""
        raise StoreUnavailable(f"the database cannot be reached: {self._away}{doubt}") from error


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
