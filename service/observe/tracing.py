"""OpenTelemetry tracing: a span for each request, with child spans that show where its time went.

Needs the extra `otel` and is imported only if traces are wanted. The standard OTEL_* variables configure it. Knows nothing of
models.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from service.asgi import Scope
from service.observe.request_record import RequestRecord
from service.observe.trace_context import TraceContext

log = logging.getLogger(__name__)

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))


class Tracer:
    """Makes the spans of requests. Call `close` to send the last of them."""

    def __init__(self, processors: Sequence[SpanProcessor]) -> None:
        """Take resource and sampler from the OTEL_* variables of the environment."""
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "vae-service"}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        for processor in processors:
            self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("service")

    def begin(self, scope: Scope, parent: TraceContext | None, label: str) -> "RequestSpan":
        """Start the span of a request. `parent` is the caller's trace context, if it sent one; `label` names its operation."""
        method = scope["method"] if scope["method"] in METHODS else "HTTP"
        span = self._tracer.start_span(
            f"{method} {label}",
            context=None if parent is None else trace.set_span_in_context(NonRecordingSpan(_remote(parent))),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": scope["path"], "url.scheme": scope.get("scheme", "http")},
        )
        return RequestSpan(self._tracer, span)

    def close(self) -> None:
        """Send the spans that were not sent yet. This takes as long as the exporter's timeout allows."""
        self._provider.shutdown()


class RequestSpan:
    """The span of one request. Its child spans are made at its end, from the times that were recorded."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._offset = time.time_ns() - time.monotonic_ns()

    @property
    def context(self) -> TraceContext:
        """Return the ids of the trace and of this span."""
        context = self._span.get_span_context()
        ids = trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)
        return TraceContext(*ids, int(context.trace_flags))

    def end(self, record: RequestRecord, status: int, request_id: str, model: str) -> None:
        """End the span and make its children."""
        span, now = self._span, time.monotonic()
        if span.is_recording():
            self._children(record, now)
            span.set_attribute("http.response.status_code", status)
            span.set_attribute("vae.request_id", request_id)
            if model:
                span.set_attribute("vae.model", model)
            if status >= 500:
                span.set_attribute("error.type", str(status))
                span.set_status(Status(StatusCode.ERROR))
        span.end(self._nanoseconds(now))

    def _children(self, record: RequestRecord, now: float) -> None:
        passes = (record.timings and record.timings.passes) or []
        if not passes:
            return
        context = trace.set_span_in_context(self._span)
        self._child(context, "decode", record.body_read, passes[0].last_submitted)
        for one in passes:
            self._child(context, "queue", one.submitted, one.taken)
            self._child(context, "compute", one.taken, one.done)
        self._child(context, "encode", max(one.done for one in passes), now)

    def _child(self, context: Any, name: str, start: float, end: float) -> None:
        span = self._tracer.start_span(name, context=context, start_time=self._nanoseconds(start))
        span.end(self._nanoseconds(max(start, end)))

    def _nanoseconds(self, moment: float) -> int:
        return self._offset + int(moment * 1e9)


def _remote(place: TraceContext) -> SpanContext:
    return SpanContext(int(place.trace_id, 16), int(place.span_id, 16), is_remote=True, trace_flags=TraceFlags(place.flags))


def start(exporter: str) -> Tracer:
    """Return a tracer that sends its spans. `exporter`: otlp (over HTTP) or console."""
    if exporter == "console":
        return Tracer([BatchSpanProcessor(ConsoleSpanExporter())])
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Tracer([BatchSpanProcessor(OTLPSpanExporter())])
