"""Traces and access lines: the caller's trace goes on in the answer and in the log; nothing of bodies and queries is there."""

import gc
import logging
import re
import weakref
from typing import Any

import pytest
from fastapi import FastAPI

from service.http.observer import Observer
from service.http.registry import Registry
from service.observe.metrics import Metrics
from service.observe.request_record import RecordSinks
from tests.service.asgi import Exchange, Sent, of_httpx, send
from tests.service.http.exchanges import PICTURE

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
FOUND = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def traceparent(sent: Sent) -> tuple[str, str, str] | None:
    """Trace, span and flags of an answer."""
    values = [value for name, value in sent.headers if name == b"traceparent"]
    assert len(values) < 2
    if not values:
        return None
    found = FOUND.fullmatch(values[0])
    assert found
    return found[1].decode(), found[2].decode(), found[3].decode()


@pytest.mark.parametrize("path", ["/encode", "/models", "/nothing"])
async def test_a_trace_goes_on(app: FastAPI, path: str) -> None:
    sent = await send(app, of_httpx("POST", path, content=PICTURE, headers={"traceparent": PARENT}))
    trace, span, flags = traceparent(sent) or ("", "", "")
    assert (trace, flags) == (TRACE, "01")
    assert span != SPAN


@pytest.mark.parametrize("malformed", ["", "x", PARENT.upper(), PARENT + "-x", f"00-{'0' * 32}-{SPAN}-01"])
async def test_a_malformed_one_is_replaced(app: FastAPI, malformed: str) -> None:
    sent = await send(app, Exchange("GET", "/sample", headers=[(b"traceparent", malformed.encode())]))
    trace, _, _ = traceparent(sent) or ("", "", "")
    assert trace
    assert trace != TRACE


async def test_two_are_replaced_and_none_stays_none(app: FastAPI) -> None:
    both = Exchange("GET", "/sample", headers=[(b"traceparent", PARENT.encode())] * 2)
    assert (traceparent(await send(app, both)) or ("",))[0] not in ("", TRACE)
    assert traceparent(await send(app, of_httpx("GET", "/sample"))) is None


async def test_an_access_line_has_what_finds_the_request_and_no_more(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    exchange = of_httpx(
        "POST",
        "/encode?model=grey&secret=s3cret",
        content=b"private pixels",
        headers={"traceparent": PARENT, "x-request-id": "abc"},
    )
    with caplog.at_level(logging.INFO, "service.access"):
        await send(app, exchange)
        await send(app, of_httpx("POST", "/encode?model=grey", content=PICTURE))
        await send(app, Exchange("POST", "/encode", pieces=[b"\x89PN"], leaves="in the body"))
        await send(app, Exchange("GET", "/a b\n\x1b[31mforged 200\r\n" + "x" * 1000))
    refused, good, gone, forged = [record for record in caplog.records if record.name == "service.access"]
    fields = {name: refused.__dict__[name] for name in ("client", "method", "path", "status", "request_id", "trace_id")}
    assert fields == {
        "client": "127.0.0.1", "method": "POST", "path": "/encode", "status": 422, "request_id": "abc", "trace_id": TRACE,
    }  # fmt: skip
    assert refused.__dict__["seconds"] > 0
    assert (good.__dict__["status"], good.__dict__["model"]) == (200, "grey")
    assert (gone.__dict__["status"], "model" in gone.__dict__) == (499, False)
    assert "\n" not in forged.getMessage()
    assert "\x1b" not in forged.getMessage()
    assert len(forged.getMessage()) < 500
    for record in caplog.records:
        assert "s3cret" not in repr(record.__dict__)
        assert "private" not in repr(record.__dict__)


async def test_an_error_of_ours_is_logged_with_the_ids(
    app: FastAPI, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state, "service", "no service")
    await send(app, of_httpx("GET", "/sample", headers={"traceparent": PARENT, "x-request-id": "abc"}))
    (record,) = [record for record in caplog.records if record.name == "service.rest.errors"]
    assert (record.__dict__["request_id"], record.__dict__["trace_id"]) == ("abc", TRACE)


async def test_without_an_access_log_there_are_no_lines(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    app.state.sinks.access_log = False
    with caplog.at_level(logging.INFO, "service.access"):
        await send(app, of_httpx("GET", "/sample"))
    assert not [record for record in caplog.records if record.name == "service.access"]


async def test_a_request_leaves_nothing_to_the_garbage_collector() -> None:
    """The server's own object of a request knows the scope, and is what the observer sends to."""

    class Server:
        def __init__(self) -> None:
            self.scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {}}

        async def receive(self) -> Any:
            raise AssertionError

        async def send(self, message: Any) -> None:
            pass

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    observer, kept = Observer(answer, RecordSinks(Metrics(), access_log=True), Registry([])), []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            server = Server()
            kept.append(weakref.ref(server))
            await observer(server.scope, server.receive, server.send)
            del server
        assert [one() for one in kept] == [None] * 3
    finally:
        gc.enable()
