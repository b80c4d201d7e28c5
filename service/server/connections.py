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
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.http.problems import HttpError, problem
from service.server.connection_bounds import ConnectionBounds
from service.server.errors import HeadTooLarge, SpokeTls, TooManyConnections, TooSlow, TrailersTooLarge
from service.server.parsing_turns import ParsingTurns
from service.server.plain_requests import PlainRequests
from service.server.request_parsing import BODY, HEAD
from service.server.unsent_bytes import drop_unsent, is_reset, unsent

if TYPE_CHECKING:
    from service.http.hot_path import HotPath

log = logging.getLogger(__name__)

# A client that has closed its side of the connection may still wait for its answer, or be gone. To find out, it is sent an
# interim response (RFC 9110, section 15.2), first after 0.05 s, then less and less often: if nobody is there, the client's
# system answers with a reset.
HALF_CLOSED_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
# A keep-alive time below this is checked as often as this one, so that 0 does not mean a check in every iteration.
SHORTEST_SECONDS = 0.4
# File descriptors that are reserved for files, the store and everything else that is not a connection.
SPARE_DESCRIPTORS = 100
# The log has at most one line in so many seconds about clients that speak TLS: some try again and again.
TLS_SECONDS = 60.0


class ConnectionWatch:
    """Makes the connections of a process and checks them once a second for timeouts.

    uvicorn calls it as its protocol class. It can be pickled as long as it has no connections.
    """

    def __init__(self, bounds: ConnectionBounds, cut_off: Counter[str], hot_path: "HotPath | None" = None) -> None:
        """Start without connections. `cut_off` counts connections that are closed before an answer, by reason."""
        self.bounds, self.cut_off, self.hot_path = bounds, cut_off, hot_path
        self.connections: set[HttpConnection] = set()
        self.turns = ParsingTurns()
        self._next_tls = 0.0  # when clients that speak TLS are mentioned again
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, **arguments: Any) -> "HttpConnection":
        """Make the protocol object of a new connection, with the arguments that uvicorn passes."""
        return HttpConnection(self, **arguments)

    @property
    def allowed(self) -> int:
        """The number of connections that may be open, so that enough file descriptors are left."""
        return max(1, min(self.bounds.max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS))

    def mentions_tls(self, now: float) -> bool:
        """Return whether the log shall have a line about a client that speaks TLS. `now`: the time of the event loop."""
        if now < self._next_tls:
            return False
        self._next_tls = now + TLS_SECONDS
        return True

    def add(self, connection: "HttpConnection") -> None:
        """Check this connection from now on."""
        self.connections.add(connection)
        if self._timer is None:
            self._rest(connection.loop)

    def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        bounds = self.bounds
        shortest = min(bounds.header_seconds, bounds.slow_seconds, max(bounds.keep_alive_seconds, SHORTEST_SECONDS))
        period = min(1.0, shortest / 8)
        self._timer = loop.call_later(period, self._look, loop, loop.time() + 2 * period)

    def _look(self, loop: asyncio.AbstractEventLoop, latest: float) -> None:
        now = loop.time()
        for connection in tuple(self.connections):
            if now > latest:  # the check comes late, so the service itself has stood still and nobody else is to blame
                connection.forget()
            connection.look(now)
        self._timer = None
        if self.connections:
            self._rest(loop)


class HttpConnection(PlainRequests):
    """One HTTP/1.1 connection with its timeouts."""

    def __init__(self, watch: ConnectionWatch, **arguments: Any) -> None:
        super().__init__(watch.bounds, watch.turns, watch.hot_path, **arguments)
        self._watch = watch
        # The request, its cycle and its phase at an earlier check, the time of that check, and the bytes received by then.
        self._mark: tuple[object, object, int] | None = None
        self._since, self._then = 0.0, 0
        self._left, self._left_since = 0, 0.0  # unread bytes of the answer at an earlier check, and the time of that check

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._watch.add(self)
        if len(self._watch.connections) > self._watch.allowed:
            self._watch.cut_off["connections"] += 1
            self._answer(TooManyConnections(self._watch.allowed))

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.connections.discard(self)
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer the complete requests of a client that sends no more, then close. Close at once if a body is incomplete."""
        self.parse_plain_head()
        self._drop_incomplete()
        if self._phase == BODY or not (self._held or self._owes()):
            self.transport.close()  # unlike the event loop, this first sends what is left of an answer
            return None
        self._half_closed = True
        if not self._held:
            self._close_when_answered()
        self.loop.call_later(HALF_CLOSED_SECONDS, self._ask_whether_gone, HALF_CLOSED_SECONDS)
        return True

    def _ask_whether_gone(self, seconds: float) -> None:
        """Find out whether a client that has closed its side is still there, and again after `seconds`."""
        if self.transport.is_closing():
            return
        if is_reset(self.transport):
            self.transport.abort()
            return
        cycle = self.cycle
        if not (self.pipeline or cycle.response_started) and cycle.scope["http_version"] == "1.1":
            self.transport.write(INTERIM)
        self.loop.call_later(seconds, self._ask_whether_gone, min(2 * seconds, LONGEST_PAUSE_SECONDS))

    # The checks that `ConnectionWatch` makes once a second.

    def forget(self) -> None:
        """Restart all timeouts."""
        self._mark, self._left = None, 0

    def look(self, now: float) -> None:
        """Close the connection if it has made no progress for too long. `now`: the time of the event loop."""
        if self._reads_slowly(now):
            self._watch.cut_off["slow_reader"] += 1
            drop_unsent(self.transport)
            self.transport.abort()
        self.parse_plain_head()
        if self.transport.is_closing():
            return
        phase, mark = self._phase, self._mark
        if (
            mark is None
            or mark[0] is not self.scope
            or mark[1] is not self.cycle
            or mark[2] != phase
            or self._held
            or (phase == BODY and self.flow.read_paused)
        ):
            # It has moved on to another phase or request, or it is we who do not read from it.
            self._mark, self._since, self._then = (self.scope, self.cycle, phase), now, self._received
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
            self._watch.cut_off["silent"] += cycle is None  # it is normal that a client sends no further request
            self.transport.close()

    def _reads_slowly(self, now: float) -> bool:
        pending = self.transport.get_write_buffer_size()
        if not pending:
            self._left = 0
            return False
        # Bytes in the kernel's buffer count too, since the kernel takes nothing from us for a long time if a reader is slow.
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

    # The end of a connection.

    def end(self, fault: HttpError) -> None:
        """Close the connection; first answer with an error if the request at fault is the only one and not yet answered."""
        if not isinstance(fault, TooSlow):  # `look` has counted this one
            reason = {HeadTooLarge: "header_bytes", TrailersTooLarge: "trailer_bytes"}.get(type(fault), "malformed")
            self._watch.cut_off[reason] += 1
        self._forget_held()
        self._drop_incomplete()
        cycle, phase = self.cycle, self._phase  # in a body, the cycle belongs to the request at fault; else to one before it
        if phase != BODY and cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            self.flow.pause_reading()
        elif phase == BODY and cycle.response_started:
            self.transport.close()
        else:
            self._answer(fault)

    def _drop_incomplete(self) -> None:
        """Forget a request with an incomplete body that waits behind another one, which still gets its answer."""
        if self.pipeline and self._phase == BODY and self._answering is not None:
            self.pipeline.popleft()
            self.cycle = self._answering

    def _answer(self, fault: HttpError) -> None:
        """Send a problem body and close the connection."""
        request_id = secrets.token_hex(16)  # the request's own id was not read
        status, _, headers, body = problem(fault, fault.status, fault.code, request_id)
        if not isinstance(fault, SpokeTls) or self._watch.mentions_tls(self.loop.time()):
            log.info("%s: %s, %s", self.client and self.client[0], fault, request_id)
        fields = [*self.server_state.default_headers, *((name.encode(), value.encode()) for name, value in headers.items())]
        fields += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        lines = [b"%s: %s\r\n" % field for field in fields]
        if self.parser.get_method() == b"HEAD":
            body = b""
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.close()
