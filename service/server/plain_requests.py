"""Hands plain requests that arrive as a whole, or in two pieces, to the hot path; leaves all others to `RequestParsing`.

Clients send the body of a small request together with its head, or right after it. Knows nothing of how the hot path answers.
"""

from typing import TYPE_CHECKING, Any

from service.http.call import Answer
from service.server.connection_bounds import ConnectionBounds
from service.server.parsing_turns import ParsingTurns
from service.server.request_parsing import RequestParsing

if TYPE_CHECKING:
    from service.http.hot_path import HotPath


class PlainRequests(RequestParsing):
    """Takes plain requests before the parser sees them. That is possible only between two requests."""

    def __init__(self, bounds: ConnectionBounds, turns: ParsingTurns, hot_path: "HotPath | None", **arguments: Any) -> None:
        """Wait for the first bytes. `arguments` are those of uvicorn's class. Without `hot_path`, the parser gets all."""
        super().__init__(bounds, turns, **arguments)
        self._hot_path = hot_path
        self._plain_head = b""  # the head of a plain request whose body has not come yet

    def data_received(self, data: bytes) -> None:
        hot_path = self._hot_path
        if hot_path is None or not self._is_between_requests():
            super().data_received(data)
            return
        if self._plain_head:
            self._received -= len(self._plain_head)  # it is counted again
            data, self._plain_head = self._plain_head + data, b""
        if self._takes_hot_path(hot_path, data):
            self._received += len(data)
            return
        before = self.scope
        super().data_received(data)
        if self.scope is not before and self.cycle is not None and self.cycle.scope is self.scope:
            hot_path.learn(data, self.scope)  # type: ignore[arg-type]  # uvicorn has a type of its own

    def connection_lost(self, exc: Exception | None) -> None:
        if self._plain_head:
            self._parse(self._plain_head)  # so that it is counted as a request whose caller has left
        elif self._hot_path is not None:
            self._hot_path.client_gone(self.cycle)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self.parse_plain_head()
        super().shutdown()

    def _is_between_requests(self) -> bool:
        """Return whether all requests so far have been answered, and no byte of another one is parsed or held."""
        cycle = self.cycle
        if self._held or (self.scope if cycle is None else not cycle.response_complete or cycle.scope is not self.scope):
            return False
        return not self.transport.is_closing()

    def _takes_hot_path(self, hot_path: "HotPath", data: bytes) -> bool:
        """Serve a request on the hot path, or keep its head until its body comes. Return False if it is not plain."""
        found = hot_path.find(data)
        if found is None or self.flow.write_paused:
            return False
        head, start = found
        if len(data) - start == head.length:
            return hot_path.begin(head, data, start, self)
        if len(data) == start:
            self._plain_head = data
        return len(data) == start

    def parse_plain_head(self) -> None:
        """Parse the head of a plain request without waiting for its body, so that its timeouts begin."""
        if self._plain_head:
            head, self._plain_head = self._plain_head, b""
            self._received -= len(head)
            super().data_received(head)

    # Called by the hot path.

    def end_of_hot_path(self) -> None:
        """Go on, because a request on the hot path has been answered."""
        self.on_response_complete()

    def fall_back(self, data: bytes, outcome: Answer | Exception | None, keep_alive: bool) -> None:
        """Handle a request in the usual way after all. `outcome`: what its operation has returned or raised."""
        self._outcome = outcome
        self._parse(data)
        self._outcome = None
        if not keep_alive:
            self.cycle.keep_alive = False
