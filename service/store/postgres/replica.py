"""Reads of items from a streaming replica of the database, which are never older than the primary was when they began.

Before each read the primary says what the last change of the collection is. The replica answers if that is the last change in
the snapshot that it reads from; otherwise, or if it cannot be used, the primary answers. So every read sees every change that
was acknowledged before it, whichever process made it, and none that the primary lacks: after a failover, a replica may have
received changes from the former primary that the new one has not. Everything else goes to the primary. Knows nothing of items.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from psycopg.errors import QueryCanceled, UndefinedColumn, UndefinedTable

from service.store.interface import MAX_PICTURE_BYTES, Collection, StoreBusy, StoreUnavailable, StoreUnusable
from service.store.postgres.schema import PgConnection
from service.store.postgres.store import PATIENCE_SECONDS, PgvectorStore
from service.store.postgres.transactions import CATALOG
from service.store.postgres.work import COLUMNS

log = logging.getLogger(__name__)

# A replica that could not be used is left alone for this time.
AWAY_SECONDS = 5.0

T = TypeVar("T")


class _Behind(Exception):
    """The replica has another state of the collection than the primary had."""


class ReplicatedStore(PgvectorStore):
    """A latent store in PostgreSQL that reads items from a replica."""

    def __init__(
        self,
        address: str,
        reads: str,
        patience: float = PATIENCE_SECONDS,
        max_picture_bytes: int = MAX_PICTURE_BYTES,
        counts: Counter[str] | None = None,
        away: float = AWAY_SECONDS,
    ) -> None:
        """`reads`: the address of the replica. `counts` gets the reads of items by who answered, and why: see `_read`."""
        super().__init__(address, patience, max_picture_bytes)
        self._replica = PgvectorStore(reads, patience=0, read_only=True)  # no second try: the primary is the second try
        self._counts = Counter[str]() if counts is None else counts
        self._away_seconds, self._retry_at = away, 0.0

    async def open(self) -> None:
        await super().open()
        try:
            primary = await self._run(partial(_state, name=""), CATALOG)
            check = partial(_current, task=lambda connection: None, primary=primary, name="")
            await self._replica._run(check, CATALOG)
        except (StoreUnavailable, StoreUnusable) as error:
            self._leave(error)
        except _Behind:
            log.info("the replica of the database has not its tables yet")

    async def close(self) -> None:
        await asyncio.gather(super().close(), self._replica.close())

    async def _read(self, task: Callable[[PgConnection], T], name: str) -> T:
        """Run a task that only reads items of a collection.

        It is counted as `replica` if the replica has answered. Otherwise the primary has, because the replica lacks the last
        change or has a later one (`behind`), has too much to do or a conflict with what it replays (`busy`), or cannot be used
        (`away`).
        """
        primary = await self._run(partial(_state, name=name), CATALOG)
        if primary.collection is None:
            return await self._run(task, name)  # which has an error message for that
        why = "away"
        if time.monotonic() >= self._retry_at:
            try:
                result = await self._replica._run(partial(_current, task=task, primary=primary, name=name), name)
            except _Behind:
                why = "behind"
            except StoreBusy as error:
                if isinstance(error.__cause__, QueryCanceled):  # it takes too long, which it would on the primary as well
                    raise
                why = "busy"
            except (StoreUnavailable, StoreUnusable) as error:
                self._leave(error)
            else:
                self._counts["replica"] += 1
                if self._retry_at:
                    self._retry_at = 0.0
                    log.info("the replica of the database answers reads again")
                return result
        self._counts[why] += 1
        return await self._run(task, name)

    def _leave(self, error: Exception) -> None:
        """Leave the replica alone for a while. Only the first time is logged."""
        if not self._retry_at:
            log.warning("reads go to the primary database, since its replica (VAE_STORE_READS) cannot be used: %s", error)
        self._retry_at = time.monotonic() + self._away_seconds


@dataclass(frozen=True, slots=True)
class _State:
    """What a server has of a collection."""

    database: tuple[int, int]  # the identifier of the cluster, which its replicas share, and the number of the database
    is_replica: bool
    collection: Collection | None


def _state(connection: PgConnection, name: str) -> _State:
    row = connection.execute(
        "SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database())::bigint, "  # noqa: S608
        f"pg_is_in_recovery(), {COLUMNS} FROM pg_control_system() LEFT JOIN vae_collections ON name = %s",
        (name,),
    ).fetchone()
    assert row is not None  # noqa: S101 - pg_control_system has a row
    cluster, number, is_replica, *columns = row
    return _State((cluster, number), is_replica, Collection(*columns) if columns[0] is not None else None)


def _current(connection: PgConnection, task: Callable[[PgConnection], T], primary: _State, name: str) -> T:
    """Run a task on a replica, from one snapshot. Raises _Behind, and StoreUnusable if it is no replica of the primary."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        there = _state(connection, name)
    except (UndefinedTable, UndefinedColumn) as error:  # the database has just been made, or brought to this version
        raise _Behind from error
    if not there.is_replica:
        raise StoreUnusable("the server is no replica: it does not follow a primary (pg_is_in_recovery() is false)")
    if there.database != primary.database:
        raise StoreUnusable("the server is the replica of another database")
    ours, theirs = primary.collection, there.collection
    # A service of an earlier version changes seq and not the token.
    if ours is not None and (theirs != ours or (theirs.number, theirs.change) != (ours.number, ours.change)):
        raise _Behind
    return task(connection)
