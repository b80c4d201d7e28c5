"""The record of a request for metrics, the access log and traces. Knows nothing of operations."""

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

from service.asgi import Message, Scope, Send
from service.observe.metrics import Metrics
from service.observe.trace_context import HEADER, TraceContext
from service.timings import Timings


class Span(Protocol):
    """The trace span of a request."""

    @property
    def context(self) -> TraceContext:
        """Return the ids of the trace and of this span."""

    def end(self, record: "RequestRecord", status: int, request_id: str, model: str) -> None:
        """End the span: the request is finished."""


class Tracing(Protocol):
    """Makes the spans of requests."""

    def begin(self, scope: Scope, parent: TraceContext | None, label: str) -> Span:
        """Start the span of a request. `parent` is the caller's trace context, if it sent one; `label` names its operation."""


@dataclass
class RecordSinks:
    """Destinations of the records of requests: metrics, access log, traces."""

    metrics: Metrics | None = None
    access_log: bool = False
    tracing: Tracing | None = None


class RequestRecord:
    """The record of one request. If it got to the engine, `timings` has its times there and `body_read` when that began."""

    __slots__ = ("_send", "body_read", "headers", "span", "started", "status", "timings", "trace")

    def __init__(self, send: Send) -> None:
        self.started = time.monotonic()
        self.status = 0
        self.headers: Any = ()
        self.trace: TraceContext | None = None
        self.span: Span | None = None
        self.timings: Timings | None = None
        self.body_read = 0.0
        self._send = send

    def send(self, message: Message) -> Awaitable[None]:
        """Pass on a message of the application, and keep its status and headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.trace is not None:
                message["headers"] = [*message.get("headers", ()), (HEADER, self.trace.header())]
            self.headers = message.get("headers", ())
        return self._send(message)

    def let_go(self) -> None:
        """Drop the reference to the server. It refers back here, and only the garbage collector would free such a cycle."""
        self._send = _nobody


async def _nobody(_: Message) -> None:
    """Ignore what is sent after the end of the request."""
