"""The outermost middleware: counts, logs and traces every request, from its headers to the last byte of the answer.

It treats all requests alike, whatever answers or refuses them. It logs neither the query, which may hold secrets, nor bodies,
which hold private pictures. It knows nothing about operations.
"""

import logging
import re
import time
from urllib.parse import quote

from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.registry import Registry
from service.http.request_id import request_id_of
from service.observe.request_record import RecordSinks, RequestRecord
from service.observe.trace_context import HEADER, TraceContext, incoming, new_trace

log = logging.getLogger("service.access")

GONE = 499  # The client closed the connection before the answer. HTTP has no status for this; 499 is nginx's.
LONGEST_PATH = 200
# An IPv4 address, an IPv6 address with an optional zone, or nothing.
ADDRESS = re.compile(r"[0-9A-Fa-f:.]{0,45}(%[0-9A-Za-z_.-]{1,16})?")


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
                log_access(scope, status, seconds, request_id_of(scope), _model(record), record.trace)


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


def _address(scope: Scope) -> str:
    """Return the caller's address. It may come from a proxy's header, so it is checked."""
    address = str((scope.get("client") or ("",))[0])
    return address if ADDRESS.fullmatch(address) else "unknown"


def log_access(
    scope: Scope, status: int, seconds: float, request_id: str, model: str, trace: TraceContext | None = None
) -> None:
    """Write the line of a finished request. `model`: the name of the model that answered, or empty."""
    if not log.isEnabledFor(logging.INFO):
        return
    path = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    fields = {
        "client": _address(scope),
        "method": scope["method"],
        "path": quote(path[:LONGEST_PATH], safe="/%:@!$&'()*+,;=~"),  # Quoting keeps the log entry on one line.
        "status": status,
        "seconds": round(seconds, 6),
        "request_id": request_id,
    }
    if model:
        fields["model"] = model
    if trace is not None:
        fields["trace_id"], fields["span_id"] = trace.trace_id, trace.span_id
    log.info(
        '%s - "%s %s" %d in %.1f ms%s, %s',
        fields["client"],
        fields["method"],
        fields["path"],
        status,
        1e3 * seconds,
        f", {model}" if model else "",
        fields["request_id"],
        extra=fields,
    )
