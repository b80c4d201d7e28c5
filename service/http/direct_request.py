"""Serves a plain request whose answer takes one pass through a queue: its rows go there as soon as its last byte is here.

No coroutine is made, and nothing of its head is read again: `Direct` has read that once for all requests with this head. The
engine delivers the results to the request itself, which writes the answer. Knows nothing of what rows and results mean.
"""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from service.http.direct import Asked, Direct
from service.http.hot_cycle import OK, Connection, HotCycle
from service.http.request_id import new_request_id

if TYPE_CHECKING:
    from service.http.hot_path import Head, HotPath

log = logging.getLogger(__name__)


class DirectRequest(HotCycle):
    """A request whose rows are in a queue. For the engine it is both the request and the outcome of its block."""

    __slots__ = ("_direct", "_model", "_queue", "_rows", "_ticket", "compute_seconds", "queue_seconds", "tickets")

    def __init__(
        self, path: "HotPath", head: "Head", data: bytes, connection: Connection, direct: Direct, asked: Asked
    ) -> None:
        """Keep what `direct.rows` has returned: `asked`."""
        super().__init__(path, head, data, connection)
        self._direct = direct
        self._model: Any
        self._queue: Any
        self._model, self._queue, self._rows = asked
        self.tickets: deque[Any] = deque()
        self.queue_seconds, self.compute_seconds = 0.0, 0.0
        self._ticket: Any = None

    def enqueue(self) -> bool:
        """Put the rows into the queue. Return False if it takes no more rows now; the operation will say why."""
        self._ticket = self._queue.enqueue(self._rows, self, self)
        return self._ticket is not None

    def _stop(self) -> None:
        if self._ticket is not None:
            self._queue.withdraw(self._ticket)
            self._ticket = None

    # Called by the engine, on the event loop. An error must not get into it.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the connection."""
        return self._connection.loop

    def done(self) -> bool:
        """Return whether the client is gone, or has its answer."""
        return self.disconnected or self.response_complete

    def set_result(self, parts: list[Any]) -> None:
        """Answer."""
        self._ticket = None  # It refers back here, and only the garbage collector would free such a cycle.
        try:
            body = self._direct.body(self._model, self._rows, self._queue.join(parts))
        except Exception as error:
            self.set_exception(error)
            return
        try:
            self._answer(body)
        except Exception:
            self._fail("an answer on the hot path could not be sent")

    def set_exception(self, error: Exception) -> None:
        """Let the usual way tell the error."""
        self._ticket = self._model = self._queue = self._rows = None
        try:
            self._fall_back(error)
        except Exception:
            self._fail("an error on the hot path could not be sent")

    def _answer(self, body: bytes) -> None:
        path, head, model = self._path, self._head, self._model
        request_id = new_request_id()
        path.finish(head, self.started, OK, model.name, request_id, self._connection.client)
        own = self._direct.lines(model) % (
            1e3 * self.queue_seconds, 1e3 * self.compute_seconds, request_id.encode("ascii"), len(body)
        )  # fmt: skip
        self._model = self._queue = self._rows = None  # An idle connection must not keep an unloaded model alive.
        self._send(path.lines_around(own, head), body)

    def _fail(self, what: str) -> None:
        log.exception(what)
        self._connection.transport.abort()
