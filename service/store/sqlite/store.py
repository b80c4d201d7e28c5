"""The latent store in one sqlite file: one thread writes, one searches, a few read.

A change is acknowledged after its commit; changes that wait at the same time share a commit. Any number of processes may use
the file: each search first loads what has changed. Knows nothing of HTTP.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from service.store.directions import Direction
from service.store.filters import BadFilter, Condition
from service.store.group_turns import Ended, Turns, Waiting
from service.store.interface import (
    MAX_PICTURE_BYTES,
    BadItem,
    Collection,
    Deleted,
    Found,
    IfExists,
    Items,
    LatentStore,
    Patched,
    Search,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
    UnknownCollection,
    Upserted,
)
from service.store.snapshot import Snapshot, Wanted
from service.store.sqlite import deletes, directions, reads, writes
from service.store.sqlite.file import NoFileYet, SqliteFile
from service.store.sqlite.search import SqliteSearch
from service.store.sqlite.snapshots import snapshots
from service.thread_pool import thread_pool

READERS = 2
# Most requests that share a commit, and most that share a scan.
MOST_WRITES, MOST_SEARCHES = 256, 64
# How long `close` waits for requests in flight.
END_SECONDS = 0.2

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], Any]


class SqliteStore(LatentStore):
    """A latent store in a sqlite file, which is made with the first collection."""

    def __init__(self, path: Path | SqliteFile, max_bytes: int, max_picture_bytes: int = MAX_PICTURE_BYTES) -> None:
        self._file = SqliteFile(path) if isinstance(path, Path) else path
        self._max_bytes, self._max_picture_bytes = max_bytes, max_picture_bytes
        self._search = SqliteSearch(self._file)
        self._writes: Turns[tuple[Write, bool]] = Turns("store writer", self._write_turn, MOST_WRITES)
        self._searches: Turns[tuple[str, str, Search] | None] = Turns("store search", self._search_turn, MOST_SEARCHES)
        self._readers = thread_pool(READERS, "store reader")

    async def open(self) -> None:
        try:
            needed = await self._read(writes.vector_bytes)
        except NoFileYet:
            directory = self._file.path.parent
            if not directory.is_dir():  # no collection could ever be made
                raise StoreUnusable(f"{self._file.path} cannot be created: there is no directory {directory}") from None
            return
        if needed > self._max_bytes:
            raise StoreUnusable(
                f"the vectors of {self._file.path} take {needed} bytes of memory, VAE_STORE_MAX_BYTES allows "
                f"{self._max_bytes}; raise it"
            )
        await _outcome(self._searches.submit, None)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        ended = [await loop.run_in_executor(None, turns.end, END_SECONDS) for turns in (self._writes, self._searches)]
        await loop.run_in_executor(None, self._readers.shutdown)
        if all(ended):  # else a thread still uses them, perhaps waiting for a lock of another program
            self._search.close()
            self._file.close()

    def check(self) -> None:
        self._file.check()

    # --- changes

    async def create(self, collection: Collection) -> Collection:
        return await self._write(partial(writes.create, wanted=collection), make=True)

    async def drop(self, name: str) -> Collection:
        return await self._of(name, self._write(partial(writes.drop, name=name)))

    async def upsert(self, name: str, digest: str, items: Items, if_exists: IfExists = "replace") -> Upserted:
        bounds = self._max_bytes, self._max_picture_bytes
        write = partial(writes.upsert, name=name, digest=digest, items=items, if_exists=if_exists, bounds=bounds)
        return await self._of(name, self._write(write))

    async def patch(self, name: str, id: str, patch: dict[str, Any]) -> Patched:
        return await self._of(name, self._write(partial(writes.patch, name=name, id=id, patch=patch)))

    async def delete_ids(self, name: str, ids: Sequence[str]) -> Deleted:
        return await self._of(name, self._write(partial(deletes.delete_ids, name=name, ids=ids)))

    async def delete_matching(
        self, name: str, filter: tuple[Condition, ...], after: str = "", limit: int = 100, strict: bool = False
    ) -> Deleted:
        write = partial(deletes.delete_matching, name=name, filter=filter, after=after, limit=limit, strict=strict)
        return await self._of(name, self._write(write))

    async def put_direction(self, name: str, digest: str, direction: Direction, number: int | None = None) -> None:
        put = partial(directions.put, name=name, digest=digest, direction=direction, of=number)
        await self._of(name, self._write(put))

    async def delete_direction(self, name: str, direction: str) -> Direction:
        return await self._of(name, self._write(partial(directions.delete, name=name, direction=direction)))

    async def _write(self, write: Callable[[sqlite3.Connection], T], make: bool = False) -> T:
        return await _outcome(self._writes.submit, (write, make))  # type: ignore[no-any-return]

    def _write_turn(self, turn: Sequence[Waiting[tuple[Write, bool]]]) -> None:
        """Make all changes in one transaction. If it fails as a whole, make each in a transaction of its own."""
        turn = list(turn)
        while turn:
            try:
                connection = self._file.connection(make=any(waiting.request[1] for waiting in turn))
                break
            except (NoFileYet, StoreError) as error:
                turn.pop(0).settle(error)  # the others may not need to make the file
        if not turn:
            return
        try:
            self._commit(connection, turn)
        except StoreUnusable as error:
            _rollback(connection)
            for waiting in turn:
                waiting.settle(error)
        except sqlite3.Error as error:
            _rollback(connection)
            self._file.overwrite_refused(connection, error)
            is_locked = isinstance(self._file.explain(error), StoreBusy)  # then each would wait as long again
            for waiting in turn:
                if is_locked or len(turn) == 1:
                    waiting.settle(self._file.explain(error, writes=True))
                else:
                    self._write_turn([waiting])

    def _commit(self, connection: sqlite3.Connection, turn: Sequence[Waiting[tuple[Write, bool]]]) -> None:
        outcomes: list[Any] = []
        connection.execute("BEGIN IMMEDIATE")
        for waiting in turn:
            connection.execute("SAVEPOINT one")
            try:
                outcomes.append(waiting.request[0](connection))
            except sqlite3.Error:
                raise
            except Exception as error:
                connection.execute("ROLLBACK TO one")
                outcomes.append(error)
            connection.execute("RELEASE one")
        self._file.check()  # a change to a deleted file would be lost
        connection.execute("COMMIT")
        self._file.check()
        for waiting, outcome in zip(turn, outcomes, strict=True):
            waiting.settle(outcome)

    # --- reads

    async def collections(self) -> list[Collection]:
        try:
            return await self._read(reads.collections)
        except NoFileYet:
            return []

    async def collection(self, name: str) -> Collection:
        return (await self._of(name, self._read(partial(writes.find, name=name))))[1]

    async def get(self, name: str, ids: Sequence[str]) -> Items:
        return await self._of(name, self._read(partial(reads.get, name=name, ids=ids)))

    async def directions(self, name: str, names: Sequence[str] | None = None, digest: str | None = None) -> list[Direction]:
        return await self._of(name, self._read(partial(directions.directions, name=name, names=names, digest=digest)))

    async def picture(self, name: str, id: str) -> bytes:
        return await self._of(name, self._read(partial(reads.picture, name=name, id=id)))

    async def scan(
        self, name: str, after: str = "", limit: int = 100, filter: tuple[Condition, ...] = (), strict: bool = False
    ) -> Items:
        read = partial(reads.scan, name=name, after=after, limit=limit, filter=filter, strict=strict)
        return await self._of(name, self._read(read))

    async def snapshots(
        self, name: str, wanted: Sequence[Wanted], known: Sequence[Snapshot | None], max_bytes: int
    ) -> list[Snapshot]:
        read = partial(snapshots, name=name, wanted=wanted, known=known, max_bytes=max_bytes)
        return await self._of(name, self._read(read))

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        def work() -> T:
            with self._file.reading() as connection:
                return read(connection)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, work)
        except RuntimeError as error:
            raise StoreUnavailable("the store is closed") from error

    async def _of(self, name: str, work: Awaitable[T]) -> T:
        try:
            return await work
        except NoFileYet:
            raise UnknownCollection(name) from None

    # --- searches

    async def search(self, name: str, digest: str, search: Search) -> Found:
        """Search. Many queries take several turns, so that other callers need not wait for all of them; see `Found.seq`."""
        queries, size = search.queries, self._search.queries_a_turn(name, search)
        parts = [replace(search, queries=queries[i : i + size]) for i in range(0, len(queries), size)] or [search]
        found: list[Found] = []
        for i, one in enumerate(parts):
            try:
                found.append(await self._of(name, _outcome(self._searches.submit, (name, digest, one))))
            except BadItem as error:
                error.item = None if error.item is None else i * size + error.item  # It was the index in its turn.
                raise
        neighbors = found[0].neighbors if len(found) == 1 else [one for part in found for one in part.neighbors]
        return Found(neighbors, found[0].exact, min(part.seq for part in found), found[0].unknown)

    def _search_turn(self, turn: Sequence[Waiting[tuple[str, str, Search] | None]]) -> None:
        """Let searches that differ only in queries and k share a scan."""
        alike: dict[Any, tuple[list[Waiting[Any]], list[Search]]] = {}
        for waiting in turn:
            if waiting.request is None:
                _settle([waiting], self._load)
            else:
                name, digest, search = waiting.request
                key = (name, digest, replace(search, queries=(), k=0, with_vectors=False))
                own, searches = alike.setdefault(key, ([], []))
                own.append(waiting)
                searches.append(search)
        for (name, digest, _), (own, searches) in alike.items():
            _settle(own, partial(self._search.search, name, digest, searches))

    def _load(self) -> Sequence[None]:
        self._search.load()
        return [None]


def _settle(turn: Sequence[Waiting[Any]], work: Callable[[], Sequence[Any]]) -> None:
    try:
        outcomes = work()
    except (StoreError, NoFileYet, BadFilter) as error:
        outcomes = [error] * len(turn)
    for waiting, outcome in zip(turn, outcomes, strict=True):
        waiting.settle(outcome)


async def _outcome(submit: "Callable[[Any], Future[Any]]", request: Any) -> Any:
    try:
        return await asyncio.wrap_future(submit(request))
    except Ended:
        raise StoreUnavailable("the store is closed") from None


def _rollback(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with suppress(sqlite3.Error):  # some errors roll back by themselves
            connection.execute("ROLLBACK")
