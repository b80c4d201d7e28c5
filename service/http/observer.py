"""Every request seen from its head to its last byte: counted, logged, placed into its trace. Pure ASGI, outside of all else.

What refuses a request, by what door it comes and what answers it makes no difference here. Neither the query nor anything of
a body is logged: there are keys in the one and pictures in the other. Knows nothing of operations.
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

GONE = 499  # a caller who did not wait for the answer; nginx's number, as HTTP has none
LONGEST_PATH = 200
# IPv4, or IPv6 perhaps with a zone, or nothing where there is none
ADDRESS = re.compile(r"[0-9A-Fa-f:.]{0,45}(%[0-9A-Za-z_.-]{1,16})?")


class Observer:
    """The outermost application: it sees every request."""

    def __init__(self, app: ASGIApp, sight: Sight, registry: Registry) -> None:
        self._app, self._sight, self._registry = app, sight, registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's event."""
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
            seen.status = seen.status or 500  # what the server answers then
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
    """The request of a scope, when it came by an observer."""
    found: Seen | None = scope.get("state", {}).get("seen")
    return found


def count_refusal(scope: Scope, sight: Sight, reason: str) -> None:
    """Count a request that is refused before anything is done for it."""
    if sight.metrics is not None and "refused" not in scope["state"]:
        scope["state"]["refused"] = reason
        sight.metrics.refused[reason] += 1


def _place(seen: Seen, scope: Scope) -> TraceContext | None:
    """Where the caller is in which trace; the request gets a place below, or a new trace where the caller's is malformed."""
    parent = incoming([value for name, value in scope["headers"] if name == HEADER])
    seen.trace = parent.child() if parent is not None else new_trace()
    return parent


def _model(seen: Seen) -> str:
    label = next((value for name, value in seen.headers if name == b"x-model"), b"")
    return str(label.partition(b"@")[0].decode("latin-1"))


def _address(scope: Scope) -> str:
    """The caller's address; a proxy on this machine says whose it is, and may say anything."""
    address = str((scope.get("client") or ("",))[0])
    return address if ADDRESS.fullmatch(address) else "unknown"


def _log(scope: Scope, seen: Seen, status: int, seconds: float) -> None:
    path = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    fields = {
        "client": _address(scope),
        "method": scope["method"],
        "path": quote(path[:LONGEST_PATH], safe="/%:@!$&'()*+,;=~"),  # a line stays one
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
