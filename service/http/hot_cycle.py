"""What requests on the hot path have in common: each is what its connection calls the `cycle` of a request, as uvicorn does.

Knows nothing of how the answer is made.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from service.http.call import Answer
from service.http.observer import GONE
from service.http.request_id import new_request_id

if TYPE_CHECKING:
    from service.http.hot_path import Head, HotPath

OK = 200
KEEP, CLOSE = b"\r\n", b"connection: close\r\n\r\n"


class Connection(Protocol):
    """The connection of a request. `cycle` and `scope` are those of uvicorn."""

    transport: asyncio.Transport
    client: tuple[str, int] | None
    loop: asyncio.AbstractEventLoop
    server_state: Any
    tasks: set[asyncio.Task[Any]]
    cycle: Any
    scope: Any

    def end_of_hot_path(self) -> None:
        """Go on, because the answer has been written."""

    def fall_back(self, data: bytes, outcome: Answer | Exception | None, keep_alive: bool) -> None:
        """Handle a request in the usual way after all. `outcome`: what its operation has returned or raised."""


class _NoWaiters:
    """Stands for the event by which uvicorn tells a request of news. Nobody waits for it here."""

    def set(self) -> None:
        """Do nothing."""


class HotCycle:
    """A request on the hot path: `data` is all of it, `head` what is known of its head."""

    __slots__ = ("_connection", "_data", "_head", "_path", "disconnected", "keep_alive", "response_complete", "scope",
                 "started")  # fmt: skip
    # What else the connection reads of a cycle.
    more_body, body, response_started, expected_content_length, message_event = False, b"", False, 0, _NoWaiters()

    def __init__(self, path: "HotPath", head: "Head", data: bytes, connection: Connection) -> None:
        self._path, self._head, self._data, self._connection = path, head, data, connection
        self.scope, self.started = head.scope, time.monotonic()
        self.disconnected, self.response_complete, self.keep_alive = False, False, True

    def cancel(self) -> None:
        """End the request, because the client is gone."""
        self.disconnected = True
        self._stop()
        self._path.finish(self._head, self.started, GONE, "", new_request_id(), self._connection.client)

    def _stop(self) -> None:
        """Stop the work on the answer."""
        raise NotImplementedError

    def _fall_back(self, outcome: Answer | Exception | None = None) -> None:
        """Leave the request to the usual way. `outcome`: what its operation has returned or raised."""
        self._path.count_out(self._head)
        self.response_complete = True
        self._connection.fall_back(self._data, outcome, self.keep_alive)

    def _send(self, lines: bytes, body: bytes) -> None:
        """Write an answer: its header lines, and its body."""
        transport = self._connection.transport
        self.response_complete = True
        if not transport.is_closing():
            transport.write(b"".join((lines, KEEP if self.keep_alive else CLOSE, body)))
            if not self.keep_alive:
                transport.close()
            self._connection.end_of_hot_path()
