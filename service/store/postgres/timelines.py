"""Tells the primary from a former one that takes changes again after a failover.

PostgreSQL counts the timeline of a server when it is promoted. A former primary that comes back stays on its old timeline, and
lacks what was acknowledged on the new one. Knows nothing of pools or items.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import psycopg

from service.store.postgres.schema import PgConnection
from service.store.postgres.servers import address_of, label_of

log = logging.getLogger(__name__)

# The timeline in eight hexadecimal digits; NULL for a server that follows another one.
TIMELINE = (
    "SELECT CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END AS timeline"
)
IDENTITY = f"SELECT system_identifier, timeline FROM pg_control_system(), ({TIMELINE}) AS one"  # noqa: S608
# What services that are not quite PostgreSQL answer to that.
NOT_THERE = (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFunction, psycopg.errors.InsufficientPrivilege)
# How long the servers of an address have to say their timelines.
LOOK_SECONDS = 1.0


class FormerPrimary(psycopg.OperationalError):
    """The server is on an older timeline than another one of its cluster, which has taken changes."""


@dataclass(frozen=True, slots=True)
class Place:
    """A server that takes changes: its cluster, which all its replicas share, its timeline, and its address."""

    cluster: int
    timeline: int
    address: str | None


class Timelines:
    """The newest timeline of each cluster that was seen to take changes. Any thread may call the methods."""

    def __init__(self, address: str, promoted: Callable[[str | None], None]) -> None:
        """`promoted` gets the address of a server that was found on a newer timeline than those before."""
        self._address, self._promoted = address, promoted
        self._lock = threading.Lock()
        self._newest: dict[int, Place] = {}
        self._of: WeakKeyDictionary[PgConnection, Place | None] = WeakKeyDictionary()
        self._told: set[tuple[int, int]] = set()

    def knows(self, connection: PgConnection) -> bool:
        """Return whether the server of the connection was asked already."""
        return connection in self._of

    def ask(self, connection: PgConnection) -> None:
        """Ask the server of a new connection for its timeline, once."""
        try:
            row = connection.execute(IDENTITY).fetchone()
        except NOT_THERE:
            row = None
        self._of[connection] = self._place(row, address_of(self._address, connection))

    @staticmethod
    def _place(row: Sequence[object] | None, address: str | None) -> Place | None:
        if row is None or row[1] is None:
            return None
        return Place(int(str(row[0])), int(str(row[1]), 16), address)

    def question(self, connection: PgConnection) -> str:
        """Return a statement to add to those that begin a transaction, whose result `check` takes, or nothing."""
        return TIMELINE if self._of.get(connection) else ""

    def check(self, connection: PgConnection, timeline: str | None = None) -> None:
        """Raise FormerPrimary, and close the connection, if its server is not on the newest timeline.

        `timeline`: what the server has just answered; a connection pooler may have changed the server.
        """
        place = self._of.get(connection)
        if place is not None and timeline is not None and int(timeline, 16) != place.timeline:
            place = self._of[connection] = Place(place.cluster, int(timeline, 16), place.address)
        newest = self._newest.get(place.cluster) if place else None
        if place is None or newest is None or place.timeline >= newest.timeline:
            return
        reason = (
            f"the PostgreSQL server {label_of(connection)} is a former primary that takes changes again: it is on timeline "
            f"{place.timeline}, and another server of its cluster has taken changes on timeline {newest.timeline}; stop it, "
            "and make it a replica of that one, as docs/operations.md says"
        )
        with self._lock:
            is_new = (place.cluster, place.timeline) not in self._told
            self._told.add((place.cluster, place.timeline))
        if is_new:
            log.error("%s", reason)
        connection.close()
        raise FormerPrimary(reason)

    def acknowledge(self, connection: PgConnection) -> None:
        """Remember the timeline of a transaction that is committed. Raises FormerPrimary if there is a newer one by now."""
        if place := self._of.get(connection):
            self._remember(place)
            self.check(connection)

    def _remember(self, place: Place) -> None:
        newest = self._newest.get(place.cluster)  # nearly always the same timeline: then no lock is needed
        if newest is None or newest.timeline < place.timeline:
            with self._lock:
                newest = self._newest.get(place.cluster)
                if newest is None or newest.timeline < place.timeline:
                    self._newest[place.cluster] = place
            if newest is not None and newest.timeline < place.timeline:
                self._promoted(place.address)

    def newest(self) -> str | None:
        """Return the address of the server on the newest timeline, if all that were seen are of one cluster."""
        with self._lock:
            places = list(self._newest.values())
        return places[0].address if len(places) == 1 else None

    async def look(self, servers: Sequence[str]) -> None:
        """Ask all servers for their timelines. Those that do not answer in time are left out."""
        await asyncio.gather(*(self._look_at(server) for server in servers))

    async def _look_at(self, server: str) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                connection = await psycopg.AsyncConnection.connect(server, autocommit=True)
                try:
                    row = await (await connection.execute(IDENTITY)).fetchone()
                finally:
                    await connection.close()
        except (psycopg.Error, TimeoutError) as error:
            log.debug("a server of the store was not asked for its timeline: %s", error)
            return
        if place := self._place(row, server):
            self._remember(place)
