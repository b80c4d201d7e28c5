"""HTTP/1.1 connections of uvicorn, with limits that an ASGI application cannot set: on headers, trailers, pipelining, idle
connections, slow senders and readers, and the number of connections. Knows nothing of the application.

No timer is set for a request. Instead, `ConnectionWatch` checks all connections about once a second, and finds those that
have made no progress since an earlier check.
"""

import asyncio
import logging
import resource
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from service.http.problems import HttpError, problem
from service.server.faults import HeadTooLarge, TooManyConnections, TooSlow, TrailersTooLarge
from service.server.head_bounds import HeadBounds
from service.server.parsing_turns import ParsingTurns
from service.server.request_parsing import BODY, HEAD, RequestParsing
from service.server.unsent_bytes import drop_unsent, is_reset, unsent

log = logging.getLogger(__name__)

# A client that has closed its side of the connection may wait for its answer, or be gone. After so long it is asked, then less
# and less often: an interim response (RFC 9110, section 15.2) comes back as an error when nobody is there.
HALF_CLOSED_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
# a shorter time than this is not told from none
SHORTEST_SECONDS = 0.4
# descriptors that are left for files, the store and what else is open
SPARE_DESCRIPTORS = 100


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Limits of one connection, in seconds, bytes, and bytes a second."""

    header_seconds: float
    keep_alive_seconds: float
    slow_seconds: float
    min_bytes_per_second: int
    max_header_bytes: int
    max_headers: int
    max_connections: int


class ConnectionWatch:
    """All connections of a process, and the look around at them. Makes their protocols; may be pickled before it has any."""

    def __init__(self, bounds: ConnectionBounds, cut_off: Counter[str]) -> None:
        """`cut_off` counts the connections that are ended before their requests are answered, by reason."""
        self.bounds, self.cut_off = bounds, cut_off
        self.connections: set[HttpConnection] = set()
        self.head_bounds, self.turns = HeadBounds(bounds.max_header_bytes, bounds.max_headers), ParsingTurns()
        self._timer: asyncio.TimerHandle | None = None

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "HttpConnection":
        """A protocol, as uvicorn asks for one."""
        return HttpConnection(self, config, server_state, app_state, _loop)

    @property
    def allowed(self) -> int:
        """Connections that may be open: no more than leave some descriptors."""
        return max(1, min(self.bounds.max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS))

    def add(self, connection: "HttpConnection") -> None:
        """From now on it is looked at."""
        self.connections.add(connection)
        if self._timer is None:
            self._rest(connection.loop)

    def discard(self, connection: "HttpConnection") -> None:
        """It is closed."""
        self.connections.discard(connection)

    def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        bounds = self.bounds
        shortest = min(bounds.header_seconds, bounds.slow_seconds, max(bounds.keep_alive_seconds, SHORTEST_SECONDS))
        period = min(1.0, shortest / 8)
        self._timer = loop.call_later(period, self._look, loop, loop.time() + 2 * period)

    def _look(self, loop: asyncio.AbstractEventLoop, latest: float) -> None:
        now = loop.time()
        for connection in tuple(self.connections):
            if now > latest:  # it was we who stood still
                connection.forget()
            connection.look(now)
        self._timer = None
        if self.connections:
            self._rest(loop)


class HttpConnection(RequestParsing):
    """One connection."""

    def __init__(
        self,
        watch: ConnectionWatch,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(watch.head_bounds, watch.turns, config, server_state, app_state, _loop)
        self._watch, self._bounds = watch, watch.bounds
        # where it was at an earlier look, when, and what had come by then
        self._mark: tuple[object, int] | None = None
        self._since, self._then = 0.0, 0
        self._left, self._left_since = 0, 0.0  # bytes of the answer not read at an earlier look

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._watch.add(self)
        if len(self._watch.connections) > self._watch.allowed:
            self._watch.cut_off["connections"] += 1
            self._answer(TooManyConnections(self._watch.allowed))

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.discard(self)
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more. It gets the answers to what it has asked, unless a body is not complete."""
        if self._phase == BODY or not (self._held or self._owes()):
            self.transport.close()  # an answer may be on its way; the event loop would close without it
            return None
        self._half_closed = True
        if not self._held:
            self._close_when_answered()
        self.loop.call_later(HALF_CLOSED_SECONDS, self._ask_whether_gone, HALF_CLOSED_SECONDS)
        return True

    def _ask_whether_gone(self, seconds: float) -> None:
        """Of a client that has closed its side, after a wait of `seconds`."""
        if self.transport.is_closing():
            return
        if is_reset(self.transport):
            self.transport.abort()
            return
        cycle = self.cycle
        if not (self.pipeline or cycle.response_started) and cycle.scope["http_version"] == "1.1":
            self.transport.write(INTERIM)
        self.loop.call_later(seconds, self._ask_whether_gone, min(2 * seconds, LONGEST_PAUSE_SECONDS))

    # the look around

    def forget(self) -> None:
        """Begin to wait anew."""
        self._mark, self._left = None, 0

    def look(self, now: float) -> None:
        """Cut it off if it has not come further for too long. `now`: the loop's time."""
        if self._reads_slowly(now):
            self._watch.cut_off["slow_reader"] += 1
            drop_unsent(self.transport)
            self.transport.abort()
        if self.transport.is_closing():
            return
        phase, mark = self._phase, self._mark
        if (
            mark is None
            or mark[0] is not self.scope
            or mark[1] != phase
            or self._held
            or (phase == BODY and self.flow.read_paused)
        ):
            self._mark, self._since, self._then = (self.scope, phase), now, self._received  # or it is we who make a pause
            return
        waited, cycle = now - self._since, self.cycle
        if phase == BODY:
            if waited >= self._bounds.slow_seconds:
                if self._received - self._then < self._bounds.min_bytes_per_second * waited:
                    self._watch.cut_off["slow_body"] += 1
                    self.end(TooSlow("body", self._bounds.slow_seconds))
                self._since, self._then = now, self._received
        elif cycle is not None and not cycle.response_complete:
            return
        elif phase == HEAD:
            if waited >= self._bounds.header_seconds:
                self._watch.cut_off["slow_head"] += 1
                self.end(TooSlow("head", self._bounds.header_seconds))
        elif waited >= (self._bounds.header_seconds if cycle is None else self._bounds.keep_alive_seconds):
            self._watch.cut_off["silent"] += cycle is None  # whoever has had an answer may come back or not
            self.transport.close()

    def _reads_slowly(self, now: float) -> bool:
        pending = self.transport.get_write_buffer_size()
        if not pending:
            self._left = 0
            return False
        # what the kernel has counts too: of a slow reader it takes nothing more for a long time
        left = pending + unsent(self.transport) + (self.cycle.expected_content_length if self.cycle is not None else 0)
        waited = now - self._left_since
        slow = (
            self._left > 0
            and waited >= self._bounds.slow_seconds
            and self._left - left < self._bounds.min_bytes_per_second * waited
        )
        if not self._left or left > self._left or waited >= self._bounds.slow_seconds:
            self._left, self._left_since = left, now
        return slow

    # how it ends

    def end(self, fault: HttpError) -> None:
        """Say why, if the request at fault is the only one and has no answer yet, and close."""
        if not isinstance(fault, TooSlow):  # which is counted by what was slow
            reason = {HeadTooLarge: "header_bytes", TrailersTooLarge: "trailer_bytes"}.get(type(fault), "malformed")
            self._watch.cut_off[reason] += 1
        self._forget_held()
        cycle, phase = self.cycle, self._phase  # in a body, the cycle is the request at fault; else one before it
        if phase != BODY and cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            self.flow.pause_reading()
        elif phase == BODY and (cycle.response_started or self.pipeline):
            self.transport.close()
        else:
            self._answer(fault)

    def _answer(self, fault: HttpError) -> None:
        """A problem body, and the end of the connection."""
        request_id = secrets.token_hex(16)  # its own was not read
        status, headers, body = problem(fault, fault.status, fault.code, request_id)
        log.info("%s: %s, %s", self.client and self.client[0], fault, request_id)
        fields = [*self.server_state.default_headers, *((name.encode(), value.encode()) for name, value in headers.items())]
        fields += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        lines = [b"%s: %s\r\n" % field for field in fields]
        if self.parser.get_method() == b"HEAD":
            body = b""
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.close()
