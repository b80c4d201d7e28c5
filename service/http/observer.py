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
from service.observe.seen import Seen, Sight
from service.observe.trace_context import HEADER, TraceContext, incoming, new_trace

log = logging.getLogger("service.access")

GONE = 499  # The client closed the connection before the answer. HTTP has no status for this; 499 is nginx's.
LONGEST_PATH = 200
# An IPv4 address, an IPv6 address with an optional zone, or nothing.
ADDRESS = re.compile(r"[0-9A-Fa-f:.]{0,45}(%[0-9A-Za-z_.-]{1,16})?")


class Observer:
    """Wraps the whole application and observes every request."""

    def __init__(self, app: ASGIApp, sight: Sight, registry: Registry) -> None:
        self._app, self._sight, self._registry = app, sight, registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sight, metrics = self._sight, self._sight.metrics
        state = scope.setdefault("state", {})
        seen = state["seen"] = Seen(send)
        for name, _ in scope["headers"]:
            if name == HEADER:
                _place(seen, scope)
                break
        if sight.tracing is not None:
            seen.span = sight.tracing.begin(scope, _place(seen, scope), self._registry.label_of(scope["path"]))
            seen.trace = seen.span.context
        if seen.trace is not None:
            state["trace_id"] = seen.trace.trace_id
        if metrics is not None:
            metrics.in_flight += 1
        try:
            await self._app(scope, receive, seen.send)
        except BaseException:
            seen.status = seen.status or 500  # The server answers 500 if the application raises.
            raise
        finally:
            seen.let_go()
            status = seen.status or GONE
            seconds = time.monotonic() - seen.started
            if metrics is not None:
                metrics.in_flight -= 1
                metrics.answered(self._registry.label_of(scope["path"]), status, seconds)
            if seen.span is not None:
                seen.span.end(seen, status, request_id_of(scope), _model(seen))
            if sight.access_log and log.isEnabledFor(logging.INFO):
                _log(scope, seen, status, seconds)


def seen_of(scope: Scope) -> Seen | None:
    """Return what the observer has recorded of a request, or None if there is no observer."""
    found: Seen | None = scope.get("state", {}).get("seen")
    return found


def count_refusal(scope: Scope, sight: Sight, reason: str) -> None:
    """Count a request that is refused before any work is done for it."""
    if sight.metrics is not None and "refused" not in scope["state"]:
        scope["state"]["refused"] = reason
        sight.metrics.refused[reason] += 1


def _place(seen: Seen, scope: Scope) -> TraceContext | None:
    """Return the caller's trace context. The request becomes its child, or starts a new trace if the header is malformed."""
    parent = incoming([value for name, value in scope["headers"] if name == HEADER])
    seen.trace = parent.child() if parent is not None else new_trace()
    return parent


def _model(seen: Seen) -> str:
    label = next((value for name, value in seen.headers if name == b"x-model"), b"")
    return str(label.partition(b"@")[0].decode("latin-1"))


def _address(scope: Scope) -> str:
    """Return the caller's address. It may come from a proxy's header, so it is checked."""
    address = str((scope.get("client") or ("",))[0])
    return address if ADDRESS.fullmatch(address) else "unknown"


def _log(scope: Scope, seen: Seen, status: int, seconds: float) -> None:
    path = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    fields = {
        "client": _address(scope),
        "method": scope["method"],
        "path": quote(path[:LONGEST_PATH], safe="/%:@!$&'()*+,;=~"),  # Quoting keeps the log entry on one line.
        "status": status,
        "seconds": round(seconds, 6),
        "request_id": request_id_of(scope),
    }
    model = _model(seen)
    if model:
        fields["model"] = model
    if seen.trace is not None:
        fields["trace_id"], fields["span_id"] = seen.trace.trace_id, seen.trace.span_id
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
