"""Work on a connection to PostgreSQL that has timeouts of the server and can be stopped by another thread.

The thread that does the work always returns, even if the server never answers. Knows nothing of pools or items.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import capabilities
from psycopg.pq import PollingStatus

from service.store.postgres.schema import PgConnection
from service.store.postgres.servers import CONNECT_SECONDS, address_of

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
        self.repeats = repeats
        self.committing_since: float | None = None  # a time of `time.monotonic`
        self.has_answered = False  # whether the server has sent anything to this caller
        self.is_stopped = False
        self._lock = threading.Lock()
        self._connection: PgConnection | None = None
        self._idle = threading.Event()

    def check(self) -> None:
        """Raise Stopped if `stop` was called."""
        if self.is_stopped:
            raise Stopped

    def begin_commit(self) -> None:
        """Note that the work is done, and that the database is asked to confirm it."""
        self.committing_since = time.monotonic()

    def server(self, address: str) -> str | None:
        """Return the address of the server that works on this, of all that the address names; None if there is none."""
        with self._lock:
            return None if self._connection is None else address_of(address, self._connection)

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
        """Ask the server to cancel the statement, and cut the connection if it does not. This waits for neither.

        A commit is not cancelled: PostgreSQL would make the change without its synchronous standbys, and call that a success.
        """
        with self._lock:
            if self.is_stopped:
                return
            self.is_stopped = True
            if self._connection is None:
                return
            cancel = _canceller(self._connection) if self.committing_since is None else lambda: None
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


def bound(connection: PgConnection, lock_seconds: float, statement_seconds: float, question: str = "") -> str | None:
    """Set the timeouts of the transaction that has just begun: for each lock, and for each statement.

    They end with the transaction, so they work behind a connection pooler and do not affect its other clients. `question`: a
    statement with one result, which is returned.
    """
    timeouts = {
        "lock_timeout": lock_seconds,
        "statement_timeout": statement_seconds,
        "idle_in_transaction_session_timeout": SILENT_SECONDS,
    }
    statements = "; ".join(f"SET LOCAL {name} = {max(1, round(1e3 * seconds))}" for name, seconds in timeouts.items())
    if not question:
        connection.execute(statements.encode(), prepare=False)  # one round trip; several statements cannot be prepared
        return None
    cursor = connection.execute(f"{statements}; {question}".encode(), prepare=False)
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    return row[0] if row else None
