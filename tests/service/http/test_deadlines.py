"""Deadlines of whole requests: however an operation spends its time, the caller is told in time that it is over."""

import asyncio
import json
import time

import pytest
from fastapi import FastAPI

from service.http.call import Answer, Call
from service.http.endpoint import Endpoint
from service.operations.service import Service
from service.rest.errors import describe
from service.rest.parameters import read_parameters
from service.rest.requests import open_request
from service.rest.schemas import Parameters
from tests.service.asgi import Exchange, Sent, of_httpx, send

LONG = 60.0  # nobody waits for the end of that


async def slow(service: Service, call: Call) -> Answer:
    """An operation that learns of its deadline and then takes its time."""
    open_request(service, call, read_parameters(Parameters, call.query, json.loads(call.body or b"{}")))
    await asyncio.sleep(LONG)
    raise AssertionError


async def deaf(service: Service, call: Call) -> Answer:
    """An operation that never looks at its deadline."""
    await asyncio.sleep(LONG)
    raise AssertionError


async def ask(app: FastAPI, endpoint: Endpoint, exchange: Exchange) -> Sent:
    async def within(scope, receive, send):  # type: ignore[no-untyped-def]
        await endpoint({**scope, "app": app, "state": {}}, receive, send)

    begun = time.monotonic()
    sent = await send(within, exchange)
    assert time.monotonic() - begun < LONG / 2
    return sent


@pytest.mark.parametrize(
    ("operation", "exchange"),
    [
        (deaf, of_httpx("POST", "/slow?timeout_ms=20")),
        (deaf, of_httpx("POST", "/slow", headers={"x-timeout-ms": "20"})),
        (deaf, of_httpx("POST", "/slow?timeout_ms=20", headers={"x-timeout-ms": "600000"})),
        (slow, of_httpx("POST", "/slow", json={"timeout_ms": 20})),
        (slow, of_httpx("POST", "/slow", json={"timeout_ms": 20}, headers={"x-timeout-ms": "600000"})),
    ],
)
async def test_the_deadline_ends_the_wait(app: FastAPI, operation, exchange: Exchange) -> None:  # type: ignore[no-untyped-def]
    sent = await ask(app, Endpoint(operation, describe), exchange)
    found = json.loads(sent.body)
    assert (sent.status, found["code"], found["detail"]) == (
        504,
        "deadline_exceeded",
        "the deadline passed before the answer was ready",
    )


async def test_an_answer_in_time_is_not_touched_by_the_deadline(app: FastAPI) -> None:
    async def quick(service: Service, call: Call) -> Answer:
        return Answer(b"x", "text/plain", {})

    for _ in range(20):
        assert (await ask(app, Endpoint(quick, describe), of_httpx("POST", "/quick?timeout_ms=1000"))).status == 200
    await asyncio.sleep(1.1)  # no timer is left that would end this test
