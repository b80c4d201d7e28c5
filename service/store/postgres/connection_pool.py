"""A connection pool for PostgreSQL. It has no upper bound: if no connection is idle, the caller opens another one.

Knows nothing of what is done with the connections, nor of how many may be in use.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from service.store.postgres.schema import PgConnection
from service.store.postgres.servers import CONNECT_SECONDS

# Milliseconds after which a network that delivers nothing is noticed, and seconds after which a silent one is tried.
NETWORK_MS, SILENT_SECONDS = 10_000, 10
# An idle connection is closed after this time.
IDLE_SECONDS = 600.0


class ConnectionPool:
    """The connections to one database. Any thread may call the methods."""

    def __init__(self, address: str, read_only: bool = False) -> None:
        """`read_only`: the server refuses every change in a transaction of these connections."""
        self._address, self._read_only = address, read_only
        self._preferred: str | None = None
        self._lock = threading.Lock()
        self._idle: deque[tuple[float, PgConnection]] = deque()  # (idle since, connection); the last used one is at the right
        self.is_closed = False

    @contextmanager
    def lent(self) -> Iterator[PgConnection]:
        """Lend a connection for the block. Raises psycopg.OperationalError if none can be opened."""
        with self._lock:
            connection = self._idle.pop()[1] if self._idle else None
        if connection is None:
            connection = self._opened()
        try:
            yield connection
        finally:
            self._take_back(connection)

    def _opened(self) -> PgConnection:
        if preferred := self._preferred:
            try:
                return self._connected(preferred)
            except psycopg.OperationalError:
                self._preferred = None
        return self._connected(self._address)

    def _connected(self, address: str) -> PgConnection:
        connection = psycopg.connect(
            address,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=NETWORK_MS,
            keepalives_idle=SILENT_SECONDS,
        )
        connection.read_only = self._read_only or None
        return connection

    def prefer(self, address: str | None) -> None:
        """Open connections to this one of the servers that the address names, until that fails. Close those that are idle."""
        self._preferred = address
        self.discard()

    def discard(self) -> None:
        """Close the idle connections, as when their server does not answer."""
        with self._lock:
            old = [connection for _, connection in self._idle]
            self._idle.clear()
        for one in old:
            one.close()

    def _take_back(self, connection: PgConnection) -> None:
        now, old = time.monotonic(), list[PgConnection]()
        is_lost = connection.broken  # perhaps the database was restarted: then the idle ones are lost, too
        is_usable = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
        with self._lock:
            if is_usable and not self.is_closed:
                self._idle.append((now, connection))
            else:
                old.append(connection)
            while self._idle and (is_lost or now - self._idle[0][0] > IDLE_SECONDS):
                old.append(self._idle.popleft()[1])
        for one in old:
            one.close()

    def close(self) -> None:
        """Close the idle connections now, and the others when they come back."""
        with self._lock:
            self.is_closed = True
        self.discard()
