"""One request as it is seen from outside: what is counted, logged and traced of it. Knows nothing of operations."""

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

from service.asgi import Message, Scope, Send
from service.observe.metrics import Metrics
from service.observe.trace_context import HEADER, TraceContext
from service.timings import Timings


class Span(Protocol):
    """A request as tracing sees it."""

    @property
    def context(self) -> TraceContext:
        """Where in which trace."""

    def end(self, seen: "Seen", status: int, request_id: str, model: str) -> None:
        """The request is done with."""


class Tracing(Protocol):
    """What makes a span of a request."""

    def begin(self, scope: Scope, parent: TraceContext | None, label: str) -> Span:
        """A request has come, from a place in a trace where it said so."""


@dataclass
class Sight:
    """What is done with what is seen."""

    metrics: Metrics | None = None
    access_log: bool = False
    tracing: Tracing | None = None


class Seen:
    """One request. `timings` are its way through the engine, `body_read` when that began, where it came so far."""

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
        """Hand on what the application sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.trace is not None:
                message["headers"] = [*message.get("headers", ()), (HEADER, self.trace.header())]
            self.headers = message.get("headers", ())
        return self._send(message)

    def let_go(self) -> None:
        """Of the server, whose request leads here again: a ring would be left to the garbage collector."""
        self._send = _nobody


async def _nobody(_: Message) -> None:
    """Nothing is sent after the end."""
