"""An operation is reached by the shortcut or by the router: every answer is the same, good or bad."""

import asyncio
import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.asgi import ASGIApp
from service.engine.batcher import Batcher
from service.engine.errors import DeviceLost
from service.engine.lane import LaneConfig
from service.http.front import Front
from service.settings import Settings
from service.state import State
from tests.service.asgi import Exchange, of_httpx, send
from tests.service.http.exchanges import BAD, BYTES, ELSEWHERE, ENDS, GOOD, LATENTS, PICTURE, plain

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]


def by_router(app: FastAPI) -> ASGIApp:
    """The same application without the shortcut."""
    state: State = app.state  # type: ignore[assignment]
    registry = copy.copy(state.registry)
    registry.endpoints = {}
    return Front(app.build_middleware_stack(), app, registry, state.sinks, state.access).app


@pytest.fixture
def doors(app: FastAPI) -> tuple[ASGIApp, FastAPI]:
    return by_router(app), app


async def both(doors: tuple[ASGIApp, FastAPI], exchange: Exchange) -> tuple[int, dict[bytes, bytes], bytes]:
    """The one answer by both doors."""
    router, shortcut = [plain(await send(door, exchange)) for door in doors]
    assert shortcut == router
    return router[0], dict(router[1]), router[2]


def code(answer: tuple[int, dict[bytes, bytes], bytes]) -> tuple[int, str]:
    """Status and code of a problem."""
    status, headers, body = answer
    assert headers[b"content-type"] == b"application/problem+json"
    return status, orjson.loads(body)["code"]


# --- the same answers


async def test_good_requests(doors: tuple[ASGIApp, FastAPI]) -> None:
    for exchange in GOOD:
        status, headers, body = await both(doors, exchange)
        assert (status, headers[b"content-length"]) == (200, str(len(body)).encode()), exchange
        assert headers[b"x-model"].startswith((b"grey@sha256:", b"colour@sha256:")), exchange


async def test_bad_requests(doors: tuple[ASGIApp, FastAPI]) -> None:
    for status, word, exchange in BAD:
        assert code(await both(doors, exchange)) == (status, word), exchange


async def test_head_is_where_get_is(doors: tuple[ASGIApp, FastAPI]) -> None:
    for path in ("/sample?seed=6", *ELSEWHERE):
        status, headers, body = await both(doors, of_httpx("GET", path))
        assert await both(doors, of_httpx("HEAD", path)) == (status, headers, b""), path
        assert int(headers[b"content-length"]) == len(body), path
    status, _, body = await both(doors, of_httpx("HEAD", "/encode"))
    assert (status, body) == (405, b"")


async def test_what_is_no_operation(doors: tuple[ASGIApp, FastAPI]) -> None:
    for path in ELSEWHERE:
        assert (await both(doors, of_httpx("GET", path)))[0] == (307 if path == "/" else 200), path


IDS = [  # what a client sends, and whether the first is kept
    ([b"mine"], True), ([b"x" * 128], True), ([b"a", b"b"], True), ([b"a/b:c.d_e+f="], True),
    ([b""], False), ([b"x" * 129], False), ([b"two words"], False), ([b"\xe9"], False), ([b"a\n"], False),
    ([b"", b"b"], False), ([b'"><'], False),
]  # fmt: skip


@pytest.mark.parametrize("exchange", [GOOD[0], BAD[4][2], BAD[11][2], BAD[14][2]], ids=["200", "400", "405", "413"])
async def test_ids_of_the_client(doors: tuple[ASGIApp, FastAPI], exchange: Exchange) -> None:
    for own, kept in IDS:
        headers = [*exchange.headers, *((b"x-request-id", one) for one in own)]
        _, answered, _ = await both(doors, replace(exchange, headers=headers))
        assert answered[b"x-request-id"] == (own[0] if kept else b"made up")


async def test_ids_are_made_up_anew(doors: tuple[ASGIApp, FastAPI]) -> None:
    found = {dict((await send(door, GOOD[0])).headers)[b"x-request-id"] for door in doors * 2}
    assert len(found) == 4


# --- the engine in every state


@contextmanager
def full_queues(app: FastAPI) -> Iterator[None]:
    with ExitStack() as stack:
        for lane in app.state.service.pipeline.catalog.get("grey").lanes.values():
            stack.enter_context(lane.reserve(32))
            stack.enter_context(lane.reserve(32))
        yield


EACH = [
    of_httpx("POST", "/encode", content=PICTURE),
    of_httpx("POST", "/decode", content=LATENTS),
    of_httpx("GET", "/sample?seed=1"),
    of_httpx("POST", "/interpolate", json=ENDS),
    of_httpx("POST", "/reconstruct", content=BYTES),
]


@pytest.mark.parametrize("exchange", EACH, ids=lambda exchange: exchange.path)
class TestStates:
    async def test_a_full_queue(self, doors: tuple[ASGIApp, FastAPI], exchange: Exchange) -> None:
        with full_queues(doors[1]):
            answer = await both(doors, exchange)
        assert code(answer) == (429, "queue_full")
        assert int(answer[1][b"retry-after"]) >= 1

    async def test_before_the_models_are_loaded(self, weights: Path, exchange: Exchange) -> None:
        app = create_app(Settings(models_dir=weights, device="cpu", threads=1))
        assert code(await both((by_router(app), app), exchange)) == (503, "starting")

    async def test_while_it_shuts_down(self, doors: tuple[ASGIApp, FastAPI], exchange: Exchange) -> None:
        await doors[1].state.service.pipeline.catalog.device.close()
        assert code(await both(doors, exchange)) == (503, "draining")

    async def test_a_lost_device(self, doors: tuple[ASGIApp, FastAPI], exchange: Exchange) -> None:
        def lose(blocks: list[Any]) -> list[Any]:
            raise DeviceLost("gone")

        batcher = doors[1].state.service.pipeline.catalog.device._batcher
        with pytest.raises(DeviceLost):
            await batcher.lane(LaneConfig(lose, np.concatenate, max_batch=8, max_queue_rows=8, max_rows=8)).submit(np.zeros(1))
        assert code(await both(doors, exchange)) == (503, "device_lost")

    async def test_past_its_deadline(
        self, doors: tuple[ASGIApp, FastAPI], exchange: Exchange, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The lanes' clock is ahead: when a batch is formed, it is too late."""
        monkeypatch.setattr("service.engine.lane.time", SimpleNamespace(monotonic=lambda: time.monotonic() + 1000))
        late = replace(exchange, headers=[*exchange.headers, (b"x-timeout-ms", b"1000")])
        assert code(await both(doors, late)) == (504, "deadline_exceeded")

    async def test_our_own_fault(
        self, doors: tuple[ASGIApp, FastAPI], exchange: Exchange, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doors[1].state, "service", "no service")
        assert code(await both(doors, exchange)) == (500, "internal_error")

    async def test_a_client_that_leaves(self, doors: tuple[ASGIApp, FastAPI], exchange: Exchange, busy: Busy) -> None:
        """In the middle of its body, or while it waits: nothing is sent, and nothing of it is left."""
        catalog = doors[1].state.service.pipeline.catalog
        middle = replace(exchange, pieces=[b"\x89PN"], leaves="in the body")
        for door in doors:
            assert plain(await send(door, middle)) == (0, [], b"")
            async with busy(catalog.device._batcher):
                assert plain(await send(door, replace(exchange, leaves="waiting"))) == (0, [], b"")
        assert {lane.queued_rows for lane in catalog.get("grey").lanes.values()} == {0}

    async def test_a_request_that_is_cancelled(self, doors: tuple[ASGIApp, FastAPI], exchange: Exchange, busy: Busy) -> None:
        """As the server does when it may drain no longer."""
        found = []
        for door in doors:
            async with busy(doors[1].state.service.pipeline.catalog.device._batcher):
                task = asyncio.ensure_future(send(door, exchange))
                for _ in range(20):
                    await asyncio.sleep(0)
                task.cancel()
                found.append(plain(await task))
        assert found[0] == found[1]
        assert code((found[0][0], dict(found[0][1]), found[0][2])) == (503, "draining")
