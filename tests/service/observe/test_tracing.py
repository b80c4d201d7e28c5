"""Spans of OpenTelemetry, by its own exporter to memory: one a request, below it where its time went."""

import logging
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from service.observe.tracing import Tracer
from tests.service.asgi import Exchange, of_httpx, send
from tests.service.http.exchanges import FORM, PICTURE

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter(app: FastAPI) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracer = app.state.sinks.tracing = Tracer([SimpleSpanProcessor(exporter)])
    yield exporter
    tracer.close()


def family(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The one span of a server, and those below it in the order of their starts."""
    spans = exporter.get_finished_spans()
    (server,) = [span for span in spans if span.kind is SpanKind.SERVER]
    assert server.context is not None
    children = [span for span in spans if span is not server]
    assert {span.parent.span_id for span in children if span.parent is not None} <= {server.context.span_id}
    return server, sorted(children, key=lambda span: (span.start_time or 0, span.end_time or 0))


async def test_where_the_time_of_an_encode_went(app: FastAPI, exporter: InMemorySpanExporter) -> None:
    sent = await send(app, of_httpx("POST", "/encode?model=grey", content=PICTURE, headers={"x-request-id": "abc"}))
    server, children = family(exporter)
    assert server.name == "POST encode"
    assert server.parent is None
    attributes = {"http.request.method": "POST", "url.path": "/encode", "url.scheme": "http", "http.response.status_code": 200}
    assert dict(server.attributes or {}) == attributes | {"vae.model": "grey", "vae.request_id": "abc"}
    assert [span.name for span in children] == ["decode", "queue", "compute", "encode"]
    moments = [moment for span in children for moment in (span.start_time or 0, span.end_time or 0)]
    assert moments == sorted(moments)
    assert (server.start_time or 0) <= moments[0] + 1_000_000  # of two clocks
    assert moments[-1] <= (server.end_time or 0)
    assert server.resource.attributes["service.name"] == "vae-service"
    assert server.context is not None
    own = dict(sent.headers)[b"traceparent"].decode().split("-")
    assert own[1:3] == [format_trace_id(server.context.trace_id), format_span_id(server.context.span_id)]


async def test_a_reconstruction_goes_through_two_lanes(app: FastAPI, exporter: InMemorySpanExporter) -> None:
    await send(app, of_httpx("POST", "/reconstruct", files=FORM))
    _, children = family(exporter)
    assert sorted(span.name for span in children) == ["compute", "compute", "decode", "encode", "queue", "queue"]


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_the_callers_trace_goes_on_where_it_is_sampled(
    app: FastAPI, exporter: InMemorySpanExporter, flags: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "service.access"):
        sent = await send(app, of_httpx("GET", "/sample", headers={"traceparent": f"00-{TRACE}-{SPAN}-{flags}"}))
    _, trace, span, own_flags = dict(sent.headers)[b"traceparent"].decode().split("-")
    assert (trace, own_flags) == (TRACE, flags)
    assert span != SPAN
    assert (caplog.records[-1].__dict__["trace_id"], caplog.records[-1].__dict__["span_id"]) == (trace, span)
    if flags == "00":
        assert not exporter.get_finished_spans()
        return
    server, _ = family(exporter)
    assert server.parent is not None
    assert (format_trace_id(server.parent.trace_id), format_span_id(server.parent.span_id)) == (TRACE, SPAN)
    assert server.parent.is_remote
    assert server.context is not None
    assert format_span_id(server.context.span_id) == span


async def test_what_fails_or_is_no_operation_has_a_span_too(
    app: FastAPI, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for exchange, name, status in [
        (of_httpx("POST", "/encode", content=b"hello"), "POST encode", 415),
        (of_httpx("GET", "/models"), "GET models", 200),
        (Exchange("BREW", "/nothing/\x00"), "HTTP other", 404),
        (Exchange("POST", "/encode", pieces=[b"\x89PN"], leaves="in the body"), "POST encode", 499),
    ]:
        exporter.clear()
        await send(app, exchange)
        server, children = family(exporter)
        assert (server.name, (server.attributes or {})["http.response.status_code"]) == (name, status)
        assert (children, server.status.status_code) == ([], StatusCode.UNSET)
    exporter.clear()
    monkeypatch.setattr(app.state, "service", "no service")
    await send(app, of_httpx("GET", "/sample"))
    server, _ = family(exporter)
    assert server.status.status_code is StatusCode.ERROR
