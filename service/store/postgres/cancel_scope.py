"""A piece of work on a connection to PostgreSQL: bounded by the server's own timeouts, and it can be stopped from outside.

Whatever the server does, or if it does nothing, the thread that works here comes back. Knows nothing of pools or items.
"""

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import capabilities
from psycopg.pq import PollingStatus

from service.store.postgres.connection_pool import CONNECT_SECONDS
from service.store.postgres.schema import PgConnection

# how long a server has to end a statement that it was asked to cancel, before its connection is cut
CANCEL_SECONDS = 0.25
# a transaction in which we say nothing any more, as when this process was stopped, gives its locks back after so long
SILENT_SECONDS = 60.0
EVENTS = {PollingStatus.READING: select.POLLIN, PollingStatus.WRITING: select.POLLOUT}


class Stopped(Exception):
    """Somebody has stopped this work."""


class CancelScope:
    """The work of one caller. Its thread calls `using`, any other thread may call `stop`."""

    def __init__(self) -> None:
        self.has_answered = False  # whether the server has said anything at all to this caller
        self.is_stopped = False
        self._lock = threading.Lock()
        self._connection: PgConnection | None = None
        self._idle = threading.Event()

    @contextmanager
    def using(self, connection: PgConnection) -> Iterator[None]:
        """Work with the connection in the block. Raises Stopped when it is too late for that.

        A connection on which `stop` was called is closed: a cancellation that comes late must not hit its next user.
        """
        with self._lock:
            if self.is_stopped:
                raise Stopped
            self._connection = connection
            self._idle.clear()
        try:
            yield
        finally:
            with self._lock:
                self._connection = None
                self._idle.set()
                if self.is_stopped:
                    connection.close()

    def stop(self) -> None:
        """Have the server cancel what it does, and cut the connection if it does not; waits for neither."""
        with self._lock:
            if self.is_stopped:
                return
            self.is_stopped = True
            if self._connection is None:
                return
            cancel = _canceller(self._connection)
        for work in (cancel, self._cut):  # a server that stands still would hold the first one up
            threading.Thread(target=work, name="store stop", daemon=True).start()

    def _cut(self) -> None:
        """Shut the socket down under a thread that still waits for it: it gets an error at once."""
        if self._idle.wait(CANCEL_SECONDS):
            return
        with self._lock, suppress(OSError, psycopg.Error):
            if self._connection is not None:
                with socket.socket(fileno=os.dup(self._connection.pgconn.socket)) as connected:
                    connected.shutdown(socket.SHUT_RDWR)


def _canceller(connection: PgConnection) -> Callable[[], None]:
    """What cancels the running statement by way of a second connection. It needs the first one only now.

    libpq before 17 can only wait for that while it holds the interpreter: there the server's own timeouts must do.
    """
    if not capabilities.has_cancel_safe():
        return lambda: None
    try:
        second = connection.pgconn.cancel_conn()
    except psycopg.Error:  # it is lost already
        return lambda: None

    def cancel() -> None:
        with suppress(psycopg.Error, OSError):
            second.start()
            while (status := second.poll()) in EVENTS:
                ready = select.poll()
                ready.register(second.socket, EVENTS[PollingStatus(status)])
                if not ready.poll(1000 * CONNECT_SECONDS):
                    break
        second.finish()

    return cancel


def bound(connection: PgConnection, lock_seconds: float, statement_seconds: float) -> None:
    """Bounds for the transaction that has just begun: on waiting for each lock, and on each statement.

    They end with the transaction, so that they also hold behind a connection pooler, and touch nobody else there.
    """
    timeouts = {
        "lock_timeout": lock_seconds,
        "statement_timeout": statement_seconds,
        "idle_in_transaction_session_timeout": SILENT_SECONDS,
    }
    statements = "; ".join(f"SET LOCAL {name} = {max(1, round(1e3 * seconds))}" for name, seconds in timeouts.items())
    connection.execute(statements.encode(), prepare=False)  # one round trip, and several statements cannot be prepared
