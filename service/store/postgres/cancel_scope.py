"""Work on a connection to PostgreSQL that has timeouts of the server and can be stopped by another thread.

The thread that does the work always returns, even if the server never answers. Knows nothing of pools or items.
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

# The time that the server has to cancel a statement, before its connection is cut.
CANCEL_SECONDS = 0.25
# The server ends a transaction, and frees its locks, if this process sends nothing for this time, as when it is suspended.
SILENT_SECONDS = 60.0
EVENTS = {PollingStatus.READING: select.POLLIN, PollingStatus.WRITING: select.POLLOUT}


class Stopped(Exception):
    """The work was stopped by `CancelScope.stop`."""


class CancelScope:
    """The work of one caller. The thread that does it calls `using`; any other thread may call `stop`."""

    def __init__(self, repeats: bool = True) -> None:
        """`repeats`: whether the work may be done again if the connection is lost while it is committed."""
        self.repeats, self.is_committing = repeats, False
        self.has_answered = False  # whether the server has sent anything to this caller
        self.is_stopped = False
        self._lock = threading.Lock()
        self._connection: PgConnection | None = None
        self._idle = threading.Event()

    @contextmanager
    def using(self, connection: PgConnection) -> Iterator[None]:
        """Use the connection in the block. Raises Stopped if `stop` was called before.

        If `stop` is called meanwhile, the connection is closed: a late cancellation must not hit its next user.
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
        """Ask the server to cancel the statement, and cut the connection if it does not. This waits for neither."""
        with self._lock:
            if self.is_stopped:
                return
            self.is_stopped = True
            if self._connection is None:
                return
            cancel = _canceller(self._connection)
        for work in (cancel, self._cut):  # two threads, since the first one may block if the server hangs
            threading.Thread(target=work, name="store stop", daemon=True).start()

    def _cut(self) -> None:
        """Shut the socket down, so that a thread that still waits for it gets an error at once."""
        if self._idle.wait(CANCEL_SECONDS):
            return
        with self._lock, suppress(OSError, psycopg.Error):
            if self._connection is not None:
                with socket.socket(fileno=os.dup(self._connection.pgconn.socket)) as connected:
                    connected.shutdown(socket.SHUT_RDWR)


def _canceller(connection: PgConnection) -> Callable[[], None]:
    """Return a function that cancels the running statement over a second connection. It uses the first one only here.

    libpq before 17 holds the GIL while it waits for a cancellation. With it, the function does nothing, and the timeouts of
    the server must do.
    """
    if not capabilities.has_cancel_safe():
        return lambda: None
    try:
        second = connection.pgconn.cancel_conn()
    except psycopg.Error:  # the connection is lost already
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
    """Set the timeouts of the transaction that has just begun: for each lock, and for each statement.

    They end with the transaction, so they work behind a connection pooler and do not affect its other clients.
    """
    timeouts = {
        "lock_timeout": lock_seconds,
        "statement_timeout": statement_seconds,
        "idle_in_transaction_session_timeout": SILENT_SECONDS,
    }
    statements = "; ".join(f"SET LOCAL {name} = {max(1, round(1e3 * seconds))}" for name, seconds in timeouts.items())
    connection.execute(statements.encode(), prepare=False)  # one round trip; several statements cannot be prepared
