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

CONNECT_SECONDS = 3
# Milliseconds after which a network that delivers nothing is noticed.
NETWORK_MS = 10_000
# An idle connection is closed after this time.
IDLE_SECONDS = 600.0


class ConnectionPool:
    """The connections to one database. Any thread may call the methods."""

    def __init__(self, address: str, read_only: bool = False) -> None:
        """`read_only`: the server refuses every change in a transaction of these connections."""
        self._address, self._read_only = address, read_only
        self._lock = threading.Lock()
        self._idle: deque[tuple[float, PgConnection]] = deque()  # (idle since, connection); the last used one is at the right
        self.is_closed = False

    @contextmanager
    def lent(self) -> Iterator[PgConnection]:
        """Lend a connection for the block. Raises psycopg.OperationalError if none can be opened."""
        with self._lock:
            connection = self._idle.pop()[1] if self._idle else None
        if connection is None:
            connection = psycopg.connect(
                self._address, autocommit=True, connect_timeout=CONNECT_SECONDS, tcp_user_timeout=NETWORK_MS
            )
            connection.read_only = self._read_only or None
        try:
            yield connection
        finally:
            self._take_back(connection)

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
            old = [connection for _, connection in self._idle]
            self._idle.clear()
        for one in old:
            one.close()


async def is_answering(address: str) -> bool:
    """Return whether the server answers a new connection in any way, even by refusing it."""
    try:
        connection = await psycopg.AsyncConnection.connect(address, connect_timeout=CONNECT_SECONDS)
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        return True
    await connection.close()
    return True
