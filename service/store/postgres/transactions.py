"""Runs tasks in transactions of a PostgreSQL database, on threads, for callers on an event loop.

While the database cannot be reached, tasks are tried again for a few seconds and then fail with StoreUnavailable. Waiting is
bounded: for locks, for a database that does not answer, and for one that does not confirm a change. If the caller or the store
gives up, the work is cancelled in the database and the connection is closed. Knows nothing of items.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.errors import Diagnostic, LockNotAvailable, QueryCanceled

from service.store.interface import DiskFull, StoreBusy, StoreUnavailable, StoreUnusable
from service.store.postgres import work
from service.store.postgres.cancel_scope import CancelScope, Stopped, bound
from service.store.postgres.connection_pool import ConnectionPool
from service.store.postgres.schema import PgConnection, migrate
from service.store.postgres.servers import addresses, is_answering
from service.store.postgres.sides import Side
from service.store.postgres.slots import NoSlot
from service.store.postgres.timelines import FormerPrimary, Timelines

# Connections for reading and for writing, and how many of them one collection may use, since waiting for its locks holds a
# connection. A collection whose locks were not available lately may use one: see Slots.
READERS, READERS_OF_ONE = 8, 6
WRITERS, WRITERS_OF_ONE = 6, 2
# The key of requests that concern no collection's own table.
CATALOG = ""
# The pause between two tries.
PAUSE_SECONDS = 0.1
# Time for the answer of the database, beyond the patience that is its own timeout.
ANSWER_SECONDS = 0.5
# How long the database may take to confirm a change that is made, since a synchronous standby of it may be away.
CONFIRM_SECONDS = 30.0
# How long `close` waits for requests in flight, and then for those that it has stopped.
FINISH_SECONDS, STOP_SECONDS = 0.1, 0.3

NOT_ALLOWED = psycopg.errors.InsufficientPrivilege
CORRUPT = (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted)
WARNING = "01000"
CROSSED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, LockNotAvailable)

T = TypeVar("T")


class Transactions:
    """Transactions of one database, for one event loop."""

    def __init__(self, address: str, patience: float, read_only: bool) -> None:
        """`read_only`: the server refuses every change, and the schema is used as it is."""
        self._address, self._patience, self._read_only = address, patience, read_only
        self._servers = [] if read_only else addresses(address)
        self._migrated = self._is_closed = False
        self._away = ""  # why the database could not be used at the last try; empty if it could
        self._connections = ConnectionPool(address, read_only)
        self._timelines = Timelines(address, self._connections.prefer)
        self.reading = Side(READERS, READERS_OF_ONE, patience, "store reader", writes=False)
        self.writing = Side(WRITERS, WRITERS_OF_ONE, patience, "store writer", writes=True)
        self._under_way: dict[asyncio.Future[Any], CancelScope] = {}
        self._probes: dict[str, asyncio.Task[bool]] = {}
        self._look: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Refuse new tasks, and stop those that do not end soon."""
        self._is_closed = True
        for side in (self.reading, self.writing):
            side.slots.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=FINISH_SECONDS)
        for scope in self._under_way.values():
            scope.stop()
        for task in (*self._probes.values(), *([self._look] if self._look else [])):
            task.cancel()
        self._connections.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STOP_SECONDS)
        for side in (self.reading, self.writing):
            side.threads.end()

    async def run(self, task: Callable[[PgConnection], T], name: str, side: Side, repeats: bool = True) -> T:
        """Run a task in a transaction on a thread, and again if the connection was lost.

        `name`: the collection whose locks it may need. `repeats`: whether it may run again though it may be done already:
        then its second result would be wrong if it depends on what was there. If the caller is cancelled, so is the task.
        """
        try:
            give_up = await side.slots.take(name)
        except NoSlot:
            raise self._refusal(name, side) from None
        scope = CancelScope(repeats)
        attempt = partial(self._insist, task, scope, give_up, side, asyncio.get_running_loop())
        try:
            future = side.threads.submit(attempt)
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
            return StoreUnavailable(self._away)
        what = f"the collection {name!r}" if name else "the list of collections"
        return StoreBusy(
            f"earlier requests for {what} are not finished: another session of the database holds a lock, a synchronous "
            f"standby is away, the database stands still, or there are too many requests{side.unchanged}"
        )

    def _ended(self, name: str, side: Side, answer: "asyncio.Future[Any]") -> None:
        del self._under_way[answer]
        error = answer.exception()  # also marks the exception as retrieved, if the caller has left
        waited = (LockNotAvailable, QueryCanceled) if side.writes else LockNotAvailable
        was_stuck = isinstance(error, StoreBusy) and isinstance(error.__cause__, waited)
        side.slots.leave(name, not isinstance(error, StoreUnavailable | Stopped), was_stuck)

    async def _watched(self, answer: "asyncio.Future[T]", scope: CancelScope, side: Side) -> T:
        """Return the result of a task.

        Raises StoreUnavailable if its connection, or the server that it is to, does not answer, or does not confirm a change.
        """
        look_at = time.monotonic() + self._patience + ANSWER_SECONDS
        while not answer.done():
            now, since = time.monotonic(), scope.committing_since
            confirm_at = (now if since is None else since) + CONFIRM_SECONDS
            await asyncio.wait([answer], timeout=max(0, min(look_at, confirm_at) - now))
            if answer.done():
                break
            now = time.monotonic()
            if since is not None and since == scope.committing_since and now >= confirm_at:
                scope.stop()
                raise StoreUnavailable(
                    f"the database has not confirmed the change within {CONFIRM_SECONDS:g} seconds, as when it waits for a "
                    f"synchronous standby that is away{side.in_doubt}"
                )
            if now >= look_at:
                if not scope.has_answered or not await self._is_answering(scope):
                    scope.stop()
                    self._connections.discard()  # they are to the same server
                    self._looking()  # Another one may have taken its place.
                    raise StoreUnavailable(f"the database does not answer{side.in_doubt}")
                look_at = time.monotonic() + self._patience + ANSWER_SECONDS
        try:
            return answer.result()
        except Stopped:
            raise StoreUnavailable(f"the store is closed{side.in_doubt}") from None

    async def _is_answering(self, scope: CancelScope) -> bool:
        """Return whether the server that has the work answers a new connection. Concurrent callers share one try.

        Other servers that the address names may well answer, such as a replica that was promoted.
        """
        server = scope.server(self._address)
        if server is None:  # the work is between two tries
            return True
        probe = self._probes.get(server)
        if probe is None:
            probe = self._probes[server] = asyncio.ensure_future(is_answering(server))
            probe.add_done_callback(lambda _: self._probes.pop(server))
        return await asyncio.shield(probe)

    def _insist(
        self,
        task: Callable[[PgConnection], T],
        scope: CancelScope,
        give_up: float,
        side: Side,
        loop: asyncio.AbstractEventLoop,
    ) -> T:
        is_missing = False
        while True:
            if self._is_closed:
                raise StoreUnavailable("the store is closed")
            try:
                with self._connections.lent() as connection, scope.using(connection):
                    self._check_timeline(connection, loop)
                    return self._transact(connection, task, scope, give_up, side)
            except psycopg.errors.DiskFull as error:
                raise DiskFull(f"the database has no room left ({_line(error)}){side.unchanged}") from error
            except psycopg.errors.ReadOnlySqlTransaction as error:
                raise StoreUnusable(f"the database is not writable: {_line(error)}") from error
            except NOT_ALLOWED as error:
                raise StoreUnusable(f"the user of the database lacks a right, GRANT it: {_line(error)}") from error
            except CORRUPT as error:
                raise StoreUnusable(f"the database is corrupt ({_line(error)}); restore a backup") from error
            except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
                # A collection was just dropped, or the database is of an earlier state, as after a failover: try once more.
                self._migrated, was_missing, is_missing = False, is_missing, True
                give_up = give_up if was_missing else max(give_up, time.monotonic() + PAUSE_SECONDS + ANSWER_SECONDS)
                if time.monotonic() > give_up:
                    raise StoreUnusable(f"something is missing in the database: {_line(error)}; restore a backup") from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if scope.is_stopped:
                    raise Stopped from error
                self._explain(error, scope, give_up, side)
            if scope.is_stopped:
                raise Stopped
            time.sleep(PAUSE_SECONDS)

    def _check_timeline(self, connection: PgConnection, loop: asyncio.AbstractEventLoop) -> None:
        """Raise FormerPrimary if the server is one. Before a new connection is used, all servers of the address are asked."""
        if not self._servers:
            return
        if not self._timelines.knows(connection):
            if len(self._servers) > 1:
                asyncio.run_coroutine_threadsafe(self._look_at_all(), loop).result()
            self._timelines.ask(connection)
        self._timelines.check(connection)

    async def _look_at_all(self) -> None:
        await asyncio.wait([self._looking()])

    def _looking(self) -> "asyncio.Task[None]":
        """Ask the servers for their timelines, as long as that may take. Concurrent callers share one try."""
        if self._look is None or self._look.done():
            self._look = asyncio.ensure_future(self._timelines.look(self._servers))
        return self._look

    def _transact(
        self, connection: PgConnection, task: Callable[[PgConnection], T], scope: CancelScope, give_up: float, side: Side
    ) -> T:
        if not (self._migrated or self._read_only):
            with _confirmed(connection, scope, side):
                bound(connection, give_up - time.monotonic(), work.INDEX_SECONDS)
                scope.has_answered = True
                migrate(connection)
            self._migrated = True
        with _confirmed(connection, scope, side):
            left = give_up - time.monotonic()
            # Writers get more time when they have their lock.
            question = self._timelines.question(connection) if side.writes else ""
            timeline = bound(connection, left, left if side.writes else work.STATEMENT_SECONDS, question)
            self._timelines.check(connection, timeline)
            scope.has_answered, self._away = True, ""
            scope.check()  # A cancellation that has come meanwhile had nothing to cancel.
            result = task(connection)
        self._timelines.acknowledge(connection)
        return result

    def _explain(self, error: Exception, scope: CancelScope, give_up: float, side: Side) -> None:
        """Raise StoreUnavailable or StoreBusy for a lost connection or a conflict, unless there is time for another try."""
        if isinstance(error, QueryCanceled):
            raise StoreBusy(
                "the database took too long, or a lock is held in it, as by a change that waits for a synchronous standby"
                f"{side.unchanged}"
            ) from error
        if scope.committing_since is not None and not scope.repeats:
            raise StoreUnavailable(f"the connection to the database was lost ({_line(error)}){side.in_doubt}") from error
        in_the_way = isinstance(error, CROSSED)
        if isinstance(error, FormerPrimary):
            self._away = _line(error)
            self._connections.prefer(self._timelines.newest())
        else:
            self._away = "" if in_the_way else f"the database cannot be reached: {_line(error)}"
        if time.monotonic() + PAUSE_SECONDS <= give_up:
            return
        if in_the_way:
            raise StoreBusy(f"another session of the database holds a lock ({_line(error)}){side.unchanged}") from error
        doubt = side.in_doubt if scope.has_answered else ""
        raise StoreUnavailable(f"{self._away}{doubt}") from error


@contextmanager
def _confirmed(connection: PgConnection, scope: CancelScope, side: Side) -> Iterator[None]:
    """Commit what is done in the block. Raises StoreUnavailable if the database commits it without its synchronous standbys.

    PostgreSQL does so, with a warning and no error, when somebody cancels its waiting for them.
    """
    told: list[str | None] = []

    def hear(notice: Diagnostic) -> None:
        told.append(notice.sqlstate)

    connection.add_notice_handler(hear)
    scope.committing_since = None
    try:
        with connection.transaction():
            yield
            told.clear()
            scope.begin_commit()
    finally:
        connection.remove_notice_handler(hear)
    if side.writes and WARNING in told:
        raise StoreUnavailable(f"the waiting of the database for its synchronous standby was cancelled{side.in_doubt}")


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
