"""The outermost middleware: counts, logs and traces every request, from its headers to the last byte of the answer.

It treats all requests alike, whatever answers or refuses them. It logs neither the query, which may hold secrets, nor bodies,
which hold private pictures. It knows nothing about operations.
"""

import time

from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.registry import Registry
from service.http.request_id import request_id_of
from service.observe import access_log
from service.observe.request_record import RecordSinks, RequestRecord
from service.observe.trace_context import HEADER, TraceContext, incoming, new_trace

GONE = 499  # The client closed the connection before the answer. HTTP has no status for this; 499 is nginx's.


class Observer:
    """Wraps the whole application and observes every request."""

    def __init__(self, app: ASGIApp, sinks: RecordSinks, registry: Registry) -> None:
        self._app, self._sight, self._registry = app, sinks, registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sinks, metrics = self._sight, self._sight.metrics
        state = scope.setdefault("state", {})
        record = state["record"] = RequestRecord(send)
        for name, _ in scope["headers"]:
            if name == HEADER:
                _place(record, scope)
                break
        if sinks.tracing is not None:
            record.span = sinks.tracing.begin(scope, _place(record, scope), self._registry.label_of(scope["path"]))
            record.trace = record.span.context
        if record.trace is not None:
            state["trace_id"] = record.trace.trace_id
        if metrics is not None:
            metrics.in_flight += 1
        try:
            await self._app(scope, receive, record.send)
        except BaseException:
            record.status = record.status or 500  # The server answers 500 if the application raises.
            raise
        finally:
            record.let_go()
            status = record.status or GONE
            seconds = time.monotonic() - record.started
            if metrics is not None:
                metrics.in_flight -= 1
                metrics.answered(self._registry.label_of(scope["path"]), status, seconds)
            if record.span is not None:
                record.span.end(record, status, request_id_of(scope), _model(record))
            if sinks.access_log:
                names = scope.get("client"), scope["method"], logged_path(scope)
                access_log.write(*names, status, seconds, request_id_of(scope), _model(record), record.trace)


def record_of(scope: Scope) -> RequestRecord | None:
    """Return what the observer has recorded of a request, or None if there is no observer."""
    found: RequestRecord | None = scope.get("state", {}).get("record")
    return found


def count_refusal(scope: Scope, sinks: RecordSinks, reason: str) -> None:
    """Count a request that is refused before any work is done for it."""
    if sinks.metrics is not None and "refused" not in scope["state"]:
        scope["state"]["refused"] = reason
        sinks.metrics.refused[reason] += 1


def _place(record: RequestRecord, scope: Scope) -> TraceContext | None:
    """Return the caller's trace context. The request becomes its child, or starts a new trace if the header is malformed."""
    parent = incoming([value for name, value in scope["headers"] if name == HEADER])
    record.trace = parent.child() if parent is not None else new_trace()
    return parent


def _model(record: RequestRecord) -> str:
    label = next((value for name, value in record.headers if name == b"x-model"), b"")
    return str(label.partition(b"@")[0].decode("latin-1"))


def logged_path(scope: Scope) -> str:
    """Return the path of a request as the client has sent it."""
    return scope.get("raw_path", b"").decode("latin-1") or str(scope["path"])
