"""Serves plain requests as soon as their last byte has arrived, without ASGI: the hot path.

Most requests to a batched operation are small, arrive at once, and have the same few headers as thousands before them. For
those, parsing the head and passing eight layers costs more than the answer. So the table `HotPath` keeps heads that were
parsed in the usual way and that every layer allows whatever the body is. A request with exactly the bytes of such a head is
handed to its operation at once, see `service.http.hot_request`. The operation is the same function that `Endpoint` calls, so
its answer has the same bytes.

Whatever is unusual takes the usual way: an unknown header, a body in pieces, tracing, a caller with a rate limit. An error or
a long answer is handed over to it at the end.

Knows nothing of what an operation does, nor how connections parse requests.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from service.asgi import Headers, Scope
from service.http.access.allowance import Allowance
from service.http.body_memory import COUNTED_FROM, stated_length
from service.http.call import Answer, Call
from service.http.direct import Direct
from service.http.direct_request import DirectRequest
from service.http.endpoint import Endpoint, Operation
from service.http.front import Front
from service.http.hot_cycle import Connection, HotCycle
from service.http.hot_request import HotRequest, UsualWay
from service.http.observer import logged_path
from service.http.registry import Registry
from service.observe import access_log
from service.observe.request_record import RecordSinks

log = logging.getLogger(__name__)

END_OF_HEAD = b"\r\n\r\n"
# Bytes of the longest head that is kept, and the number of heads.
LONGEST_HEAD, MOST_HEADS = 1 << 11, 1 << 10
# Headers whose effect is decided by their values alone, so that equal bytes mean equal treatment.
PLAIN_HEADERS = frozenset(
    (b"host", b"content-length", b"content-type", b"accept", b"accept-encoding", b"accept-language", b"user-agent",
     b"connection", b"authorization", b"x-api-key", b"cache-control", b"pragma")
)  # fmt: skip
STATUS_LINE = b"HTTP/1.1 200 OK\r\n"


class Serving(Protocol):
    """The part of the application state that the hot path uses."""

    service: Any
    sinks: RecordSinks
    max_body_bytes: int
    registry: Registry


@dataclass(frozen=True, slots=True)
class Head:
    """A head that all layers allow: what is read from it, and what the layers do to each request that has it."""

    operation: Operation
    scope: Scope
    headers: Mapping[str, str]
    query: str
    length: int  # bytes of the body
    label: str
    allowance: Allowance | None
    logged_path: str
    added: bytes  # header lines that the layers add to the answer
    direct: Direct | None  # serves those of its requests that need one pass through a queue


class HotPath:
    """The table of plain heads, and the service that answers their requests."""

    def __init__(self, state: Serving, front: Front) -> None:
        self.state, self._front = state, front
        self._heads: dict[bytes, Head] = {}
        # The lines of the server's own headers, and the list that they were made of. The server replaces it once a second.
        self._default_headers: Headers = []
        self._default_lines = b""
        self._is_closing = False

    def learn(self, data: bytes, scope: Scope) -> None:
        """Keep the head at the start of `data` if it is plain. `scope`: what the parser has made of it."""
        end = data.find(END_OF_HEAD, 0, LONGEST_HEAD + len(END_OF_HEAD))
        if end < 0 or data[:end] in self._heads or self.state.service is None:
            return
        found = self._plain(scope)
        if found is not None:
            if len(self._heads) >= MOST_HEADS:
                del self._heads[next(iter(self._heads))]
            self._heads[data[:end]] = found

    def _plain(self, scope: Scope) -> Head | None:
        found = self.state.registry.hot.get(self._front.inner_path(scope["path"]))
        if found is None or scope["method"] not in found.methods:
            return None
        headers: Headers = scope["headers"]
        names = [name for name, _ in headers]
        if not PLAIN_HEADERS.issuperset(names) or len(set(names)) < len(names) or scope["http_version"] != "1.1":
            return None
        values = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        length = stated_length(values.get("content-length", "0"))
        if length is None or length > min(COUNTED_FROM, self.state.max_body_bytes):
            return None
        if values.get("connection", "keep-alive").lower() != "keep-alive":
            return None
        allowed = self._front.allows(scope)
        if allowed is None:
            return None
        assert isinstance(found.endpoint, Endpoint)  # noqa: S101  only those are hot
        added = b"".join([b"%s: %s\r\n" % field for field in allowed.headers])
        query = scope["query_string"].decode("latin-1")
        kept = {name: scope[name] for name in ("http_version", "method", "path", "raw_path")}
        direct = None if found.direct is None else found.direct(values, query)
        operation, path = found.endpoint.operation, logged_path(scope)
        return Head(operation, kept, values, query, length, found.label, allowed.allowance, path, added, direct)

    def find(self, data: bytes) -> tuple[Head, int] | None:
        """Return the plain head at the start of `data` and where its body starts; None if the head is not known as plain."""
        end = data.find(END_OF_HEAD, 0, LONGEST_HEAD + len(END_OF_HEAD))
        head = self._heads.get(data[:end]) if end > 0 else None
        return None if head is None else (head, end + len(END_OF_HEAD))

    def begin(self, head: Head, data: bytes, start: int, connection: Connection) -> bool:
        """Serve the request `data`, whose body is `data[start:]`. Return False if it has to take the usual way."""
        if connection.server_state.default_headers is not self._default_headers:
            self._read_default_headers(connection.server_state.default_headers)
        service, sinks = self.state.service, self.state.sinks
        if service is None or self._is_closing or sinks.tracing is not None:
            return False
        body = data[start:]
        if head.direct is not None and self._begins_direct(head.direct, head, data, body, connection):
            return True
        request = connection.cycle = HotRequest(self, head, data, connection)
        connection.scope = head.scope
        method = head.scope["method"]
        call = Call(head.headers, head.query, body, request.started, method=method, limit=_refuse_deadline, need=_refuse_scope)
        self._count_in(head)
        request.run(head.operation(service, call).__await__())
        return True

    def _begins_direct(self, direct: Direct, head: Head, data: bytes, body: bytes, connection: Connection) -> bool:
        """Put the rows of a request into their queue. Return False if its operation has to answer it."""
        try:
            asked = direct.rows(self.state.service, body)
        except Exception:
            log.exception("a request on the hot path could not be read")  # The operation will answer it, or raise again.
            return False
        if asked is None:
            return False
        request = DirectRequest(self, head, data, connection, direct, asked)
        if not request.enqueue():
            return False
        connection.cycle, connection.scope = request, head.scope
        self._count_in(head)
        return True

    def _read_default_headers(self, headers: Headers) -> None:
        self._default_headers = headers
        self._default_lines = b"".join([b"%s: %s\r\n" % field for field in headers])
        self._is_closing = b"connection" in [name for name, _ in headers]

    def client_gone(self, cycle: object) -> None:
        """Cancel the last request of a connection that has been lost, if it is on the hot path."""
        if isinstance(cycle, HotCycle) and not cycle.response_complete:
            cycle.cancel()

    def lines_of(self, head: Head, answer: Answer, request_id: str) -> bytes:
        """Return the lines of an answer before its body, as the usual way sends them."""
        headers = answer.headers | {"content-type": answer.media_type, "x-request-id": request_id}
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return self.lines_around(f"{lines}content-length: {len(answer.body)}\r\n".encode("latin-1"), head)

    def lines_around(self, own: bytes, head: Head) -> bytes:
        """Return the lines of an answer before its body: the server's, its own and those of the layers."""
        return b"".join((STATUS_LINE, self._default_lines, own, head.added))

    def finish(self, head: Head, started: float, status: int, model: str, request_id: str, client: object) -> None:
        """Do what the layers do at the end of a request. `model`: the name of the model that has answered, or empty."""
        self.count_out(head)
        seconds = time.monotonic() - started
        sinks = self.state.sinks
        if sinks.metrics is not None:
            sinks.metrics.answered(head.label, status, seconds)
        if sinks.access_log:
            access_log.write(client, head.scope["method"], head.logged_path, status, seconds, request_id, model)

    def _count_in(self, head: Head) -> None:
        if head.allowance is not None:
            head.allowance.enter()
        if self.state.sinks.metrics is not None:
            self.state.sinks.metrics.in_flight += 1

    def count_out(self, head: Head) -> None:
        """Count a request out again."""
        if head.allowance is not None:
            head.allowance.leave()
        if self.state.sinks.metrics is not None:
            self.state.sinks.metrics.in_flight -= 1


def _refuse_scope(scope: str) -> None:
    """Leave it to the usual way to look up the scopes of the caller's key."""
    raise UsualWay


def _refuse_deadline(deadline: float | None) -> None:
    if deadline is not None:
        raise UsualWay
