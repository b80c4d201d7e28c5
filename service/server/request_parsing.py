"""Parses requests with limits on their size, based on uvicorn's protocol class, and handles pipelining.

Bytes that hold at most one request, as nearly always, are parsed as they arrive. Others are held: the next pipelined request
is parsed after the answer to the one before it, and long streams of tiny pieces take turns with other connections. Knows
nothing of time, nor of the answer to a request that exceeds a limit.
"""

import asyncio
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.asgi import Headers
from service.http.body_memory import stated_length
from service.http.call import OUTCOME, Answer
from service.http.problems import HttpError, Malformed
from service.server.connection_bounds import ConnectionBounds
from service.server.errors import HeadTooLarge, TrailersTooLarge, malformed
from service.server.parsing_turns import END_OF_HEAD, PIECE, ParsingTurns, after_empty_lines, end_of_piece, is_harmless
from service.server.protocol_upgrade import head_without_offer
from service.server.request_target import path_and_query
from service.server.response_cycle import Cycle
from service.server.trailers import MAX_TRAILER_BYTES, Trailers

BETWEEN, HEAD, BODY = range(3)  # phases of a connection: before the first byte of a request, in its head, in its body
# The most bytes that can arrive at once: the size of uvloop's buffer.
SEGMENT = 1 << 18
# When more bytes than this arrive at once, the event loop goes on reading from the same connection until reading is paused.
LARGE = 1 << 16


class RequestParsing(HttpToolsProtocol):
    """Parses the requests of one connection. uvicorn's attribute `cycle` belongs to the request that was parsed last."""

    def __init__(self, bounds: ConnectionBounds, turns: ParsingTurns, **arguments: Any) -> None:
        """Wait for the first bytes. `arguments` are those of uvicorn's class."""
        super().__init__(**arguments)
        self._bounds, self._turns = bounds, turns
        self._outcome: Answer | Exception | None = None  # of a request that comes back from the hot path
        self._received = self._segment = self._head = 0  # bytes: in total, of this segment, of this head in earlier segments
        self._body = self._since_body = 0  # bytes: of the body so far, and received after the last piece of the body
        self._held, self._parsed = b"", 0  # bytes that wait to be parsed, and how many of them have been parsed
        self._trailers = Trailers()
        self._answering: RequestResponseCycle | None = None  # the request that runs; another one may wait behind it
        self._half_closed = False  # the client has closed its side, but waits for answers

    def end(self, fault: HttpError) -> None:
        """Close the connection because a request exceeds a limit or is malformed."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.flow = _Flow(self.transport, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_held()
        if self.pipeline and self._answering is not None:  # uvicorn tells only the request that was parsed last.
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        size = len(data)
        self._received += size
        if self._held or not self._wants_more():
            self._hold(data)
        elif (size <= LARGE and is_harmless(data)) or size <= self._wanted_of_body():
            self._parse(data)
        elif size <= LARGE and self._phase == BETWEEN:
            self._parse_head_first(data)
        else:
            self._hold(data)

    def _parse_head_first(self, data: bytes) -> None:
        """Parse bytes that look like several requests, at once if they are one: the parts of a form have heads, too."""
        end = data.find(END_OF_HEAD, 0, PIECE)
        if end < 0:
            self._hold(data)
            return
        self._parse(data[: end + len(END_OF_HEAD)])
        rest = data[end + len(END_OF_HEAD) :]
        if self._held or len(rest) > self._wanted_of_body():
            self._hold(rest)
        else:
            self._parse(rest)

    def _parse(self, data: bytes) -> None:
        """Parse `data`, and check the size of heads, of trailers, and of the overhead of chunks."""
        self._segment = size = len(data)
        before = self.scope
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._decline_upgrade(data[stop.args[0] :])
            return
        except httptools.HttpParserError as error:
            own = error.__context__  # the exception that one of our callbacks has raised
            self.end(own if isinstance(own, (HeadTooLarge, Malformed, TrailersTooLarge)) else malformed(data))
            return
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:  # the last head is complete
            self._head = 0
            self._since_body += size
            if self._since_body > SEGMENT + MAX_TRAILER_BYTES and cycle.more_body and not self.transport.is_closing():
                self.end(TrailersTooLarge(MAX_TRAILER_BYTES))
            return
        self._head = size if self.scope is not before else self._head + size
        max_bytes, max_headers = self._bounds.max_header_bytes, self._bounds.max_headers
        # The sum may include the end of the request before, so the exact size is counted where that matters.
        too_large = self._head > max_bytes and (
            self._head > max_bytes + SEGMENT or _head_bytes(self.url, self.headers) > max_bytes
        )
        too_many = self.scope is not None and len(self.headers) > max_headers
        if (too_large or too_many) and not self.transport.is_closing():
            self.end(HeadTooLarge(max_bytes, max_headers))

    def _hold(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._held, self._parsed = self._held[self._parsed :] + data, 0
        self.flow.pause_reading()
        self._turns.add(self, self.loop)

    def parse_until(self, until: float) -> bool:
        """Parse held bytes piece by piece until that time of the loop. Return whether there is more that can be parsed now."""
        while self._parsed < len(self._held):
            if not self._wants_more():
                return False
            start = after_empty_lines(self._held, self._parsed) if self._phase == BETWEEN else self._parsed
            self._parsed = end_of_piece(self._held, start, self._body_left())
            self._parse(self._held[start : self._parsed])
            if self.loop.time() > until:
                return True
        self._held, self._parsed = b"", 0
        if self._half_closed:
            self._close_when_answered()
        elif self._wants_more():
            self.flow.resume_reading()
        return False

    def _forget_held(self) -> None:
        self._held, self._parsed = b"", 0

    def parse_held(self) -> bool:
        """Schedule the parsing of held bytes. Return whether reading must stay paused."""
        if self._held:
            self._turns.add(self, self.loop)
        return bool(self._held) or self._half_closed

    def _wants_more(self) -> bool:
        """Return whether the last request has been answered, or its head or body is incomplete and there is room for more."""
        cycle = self.cycle
        if self.pipeline or self.transport.is_closing():
            return False
        if cycle is None or cycle.scope is not self.scope:  # a head is incomplete
            return True
        return cycle.response_complete or (cycle.more_body and len(cycle.body) <= HIGH_WATER_LIMIT)

    def _wanted_of_body(self) -> int:
        """Return how many of the next bytes certainly belong to a body that the application still wants."""
        return 0 if self.cycle is None or self.cycle.response_complete else self._body_left()

    def _body_left(self) -> int:
        """Return how many of the next bytes certainly belong to a body, judging by its Content-Length."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope or not cycle.more_body:
            return 0
        stated = next((value for name, value in cycle.scope["headers"] if name == b"content-length"), b"")
        return max(0, (stated_length(stated.decode("latin-1")) or 0) - self._body)

    def _owes(self) -> bool:
        """Return whether a request has no complete answer yet."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _close_when_answered(self) -> None:
        if self._owes():
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    # Callbacks of the parser. They replace uvicorn's, which check for upgrades each time.

    def on_headers_complete(self) -> None:
        max_bytes, max_headers = self._bounds.max_header_bytes, self._bounds.max_headers
        if len(self.headers) > max_headers or (
            self._head + self._segment > max_bytes and _head_bytes(self.url, self.headers) > max_bytes
        ):
            raise HeadTooLarge(max_bytes, max_headers)  # stops the parser; `_parse` handles the exception
        if self.parser.should_upgrade():
            return  # the parser stops by itself; `_parse` declines the upgrade
        self._begin(*path_and_query(self.url, self.headers))
        self._body = self._since_body = self._trailers.size = 0
        self.headers = self._trailers  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        self._since_body = -self._segment  # `_parse` adds the whole segment, so that it does not count
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:  # otherwise an upgrade is being declined
            cycle.more_body = False
            if self._trailers.size and not self.parser.should_keep_alive():  # it obeys `Connection: close` in a trailer
                cycle.keep_alive = False
                if cycle.response_complete:
                    self.transport.close()
            if not cycle.response_complete:
                cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Go on to the next request as uvicorn does, but without its keep-alive timer: `ConnectionWatch` replaces that."""
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._answering, app = self.pipeline.pop()
                self._start_asgi_task(self._answering, app)

    def _begin(self, path: bytes, query: bytes) -> None:
        """Start the application for the request whose head is complete, or queue it until the one before it is answered."""
        version = self.parser.get_http_version()
        text = path.decode("ascii")
        self.scope |= {
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "path": self.root_path + (unquote(text) if "%" in text else text),
            "raw_path": self.root_path.encode("ascii") + path,
            "query_string": query,
        }
        if self._outcome is not None:
            self.scope["state"][OUTCOME] = self._outcome
        before = self.cycle
        self.cycle = Cycle(
            self.scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            False,  # no access log of uvicorn: the application writes its own
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue and version != "1.0",
            version != "1.0" and self.parser.should_keep_alive(),
            self.on_response_complete,
        )
        self.cycle.server_state = self.server_state
        if before is None or before.response_complete:
            self._answering = self.cycle
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _decline_upgrade(self, rest: bytes) -> None:
        """Go on in HTTP/1.1: the parser has stopped after the head, so a new parser gets the same head without the offer."""
        if self.parser.get_method() == b"CONNECT":
            self.end(Malformed("the method CONNECT is only for proxies, and this service is not a proxy"))
            return
        parser = self.parser
        head = head_without_offer(parser.get_method(), self.url, parser.get_http_version().encode(), self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # the same setting as uvicorn's
        self._head = 0
        self._parse(head)
        if rest:
            rest, self._held, self._parsed = rest + self._held[self._parsed :], b"", 0
            self._hold(rest)

    @property
    def _phase(self) -> int:
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return BETWEEN if self.scope is None else HEAD
        return BODY if cycle.more_body else BETWEEN


def _head_bytes(target: bytes, headers: Headers) -> int:
    """Return the size of a head in bytes, as far as it has been parsed."""
    return len(target) + sum(len(name) + len(value) + len(": \r\n") for name, value in headers)


class _Flow(FlowControl):
    """uvicorn's flow control, changed so that held bytes are parsed before reading resumes."""

    def __init__(self, transport: asyncio.Transport, connection: RequestParsing) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        if self.read_paused and not self._connection.parse_held():
            super().resume_reading()
