"""An operation is reached by the shortcut or by the router: every answer is the same, good or bad."""

import asyncio
import base64
import copy
import re
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
from service.formats import png
from service.formats.npy import npy
from service.http.front import in_front_of
from service.settings import Settings
from service.state import State
from tests.service.asgi import Exchange, Sent, of_httpx, send

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]

NEW_ID = re.compile(rb"[0-9a-f]{32}")
PICTURE = png.write(np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 3)
TEXT = base64.b64encode(PICTURE).decode()
BYTES = npy(np.arange(128, dtype=np.uint8).reshape(2, 8, 8))
FLOATS = npy(np.linspace(0, 1, 192, dtype=np.float32).reshape(3, 8, 8, 1))
LATENTS = npy(np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3))
FORM = [("image", ("a.png", PICTURE)), ("image", ("b.png", PICTURE))]
ENDS = {"start": {"image": TEXT}, "end": {"z": [0.5, -1, 2]}}

OF_PICTURES = ("encode", "reconstruct")
WITH_BODY = ("encode", "decode", "interpolate", "reconstruct")

GOOD: list[Exchange] = [
    *(
        of_httpx("POST", f"/{name}{query}", content=PICTURE)
        for name in ("encode", "reconstruct")
        for query in ("", "?model=grey")
    ),
    *(of_httpx("POST", "/encode?include=logvar,kl,kl_per_dim,z&seed=3", content=body) for body in (PICTURE, BYTES, FLOATS)),
    *(of_httpx("POST", f"/encode?format={form}", json={"images": [TEXT, TEXT]}) for form in ("json", "npy")),
    of_httpx("POST", "/encode", files=FORM, data={"include": "kl"}),
    of_httpx("POST", "/encode?model=colour", content=PICTURE),
    of_httpx("POST", "/encode", content=PICTURE, headers={"accept": "application/x-npy"}),
    of_httpx("POST", "/encode", content=PICTURE, headers={"content-type": "application/x-www-form-urlencoded"}),
    *(of_httpx("POST", f"/reconstruct?format={form}&mode=sample&seed=4", files=FORM) for form in ("json", "npy", "png")),
    of_httpx("POST", "/reconstruct?format=png&compare=true&layout=column", content=BYTES),
    *(of_httpx("POST", f"/decode?format={form}", content=LATENTS) for form in ("json", "npy", "png")),
    of_httpx("POST", "/decode?dtype=float32&format=npy", json={"z": [[0, 1, 2]]}),
    of_httpx("POST", "/decode?pixels=sample&seed=4", content=LATENTS),
    *(of_httpx("GET", f"/sample?n=3&seed=5&format={form}&temperature=0.5&include=z") for form in ("json", "npy", "png")),
    *(of_httpx("GET", f"/sample?n=3&seed=5&format={form}&prior=standard&include=z") for form in ("json", "npy", "png")),
    *(of_httpx(method, "/sample?seed=6") for method in ("GET", "POST")),
    of_httpx("POST", "/sample", json={"n": 2, "seed": 7}),
    of_httpx("GET", "/sample?seed=8", headers={"accept": "text/html,image/avif,*/*;q=0.8"}),
    *(of_httpx("POST", f"/interpolate?steps=4&format={form}", json=ENDS) for form in ("json", "npy", "png", "webp", "gif")),
    of_httpx("POST", "/interpolate?include=z&method=slerp", files={"start": ("a", PICTURE), "end": ("b", PICTURE)}),
    Exchange("POST", "/encode", pieces=[PICTURE[:10], b"", PICTURE[10:50], PICTURE[50:]]),
    Exchange("POST", "/encode", headers=[(b"content-length", b"5")], pieces=[PICTURE]),
    Exchange("GET", "/sample", b"seed=9&&n=1&"),
    Exchange("GET", "/sample", b"%73eed=%39"),
]
BAD: list[tuple[int, str, Exchange]] = [
    *(
        (400, "undecodable", of_httpx("POST", f"/{name}", content=b""))
        for name in ("encode", "decode", "interpolate", "reconstruct")
    ),
    (400, "undecodable", of_httpx("POST", "/encode", content=PICTURE[:60])),
    (400, "undecodable", of_httpx("POST", "/encode", json={"images": [TEXT, "!"]})),
    (400, "undecodable", of_httpx("POST", "/encode", content=b"{")),
    (400, "undecodable", of_httpx("POST", "/encode", content=b"--x", headers={"content-type": "multipart/form-data"})),
    (404, "unknown_model", of_httpx("POST", "/encode?model=gray", content=PICTURE)),
    (404, "unknown_model", of_httpx("GET", "/sample?model=")),
    (422, "no_such_prior", of_httpx("GET", "/sample?model=colour&prior=aggregate")),
    (404, "not_found", of_httpx("GET", "/nothing")),
    (404, "not_found", Exchange("POST", "//encode", pieces=[PICTURE])),
    (404, "not_found", Exchange("POST", "/Encode", pieces=[PICTURE])),
    (405, "method_not_allowed", of_httpx("GET", "/encode")),
    (405, "method_not_allowed", of_httpx("PUT", "/sample", content=b"x")),
    (405, "method_not_allowed", of_httpx("OPTIONS", "/decode")),
    (413, "body_too_large", Exchange("POST", "/encode", headers=[(b"content-length", b"100001")], pieces=[PICTURE])),
    (413, "body_too_large", Exchange("POST", "/encode", pieces=[bytes(60_000), bytes(60_000), b"never read"])),
    (413, "body_too_large", Exchange("POST", "/decode", headers=[(b"content-length", b"1")], pieces=[bytes(100_001)])),
    (413, "too_many_pixels", of_httpx("POST", "/encode", content=png.write(np.zeros((101, 100, 1), np.uint8)))),
    (422, "too_many_items", of_httpx("GET", "/sample?n=33")),
    (413, "too_many_items", of_httpx("POST", "/encode", json={"images": [TEXT] * 33})),
    (413, "too_many_items", of_httpx("POST", "/encode", files=[("image", ("x", b"x"))] * 53)),
    (415, "unsupported_media_type", of_httpx("POST", "/encode", content=b"hello")),
    (415, "unsupported_media_type", of_httpx("POST", "/decode", content=PICTURE)),
    (422, "invalid_parameter", of_httpx("GET", "/sample?sed=1")),
    (422, "invalid_parameter", of_httpx("GET", "/sample?n=1&n=2")),
    (422, "invalid_parameter", Exchange("GET", "/sample", b"\xff=%zz&n=\xe9")),
    (422, "invalid_parameter", of_httpx("GET", "/sample", headers={"x-timeout-ms": "soon"})),
    (422, "unusable_input", of_httpx("POST", "/decode", json={"z": [[1, 2]]})),
    (422, "unusable_input", of_httpx("POST", "/encode", content=npy(np.full((1, 8, 8), 2, np.float32)))),
]
ELSEWHERE = ("/models", "/models/grey", "/health/live", "/health/ready", "/docs", "/openapi.json", "/")


def plain(sent: Sent) -> tuple[Any, ...]:
    """An answer without what differs from one time to the next: its timings, and an id that the service made up."""
    headers, body = dict(sent.headers), sent.body
    assert len(headers) == len(sent.headers), sent.headers
    assert sent.complete or not sent.status
    headers.pop(b"server-timing", None)
    made_up = headers.get(b"x-request-id", b"")
    if NEW_ID.fullmatch(made_up):
        headers[b"x-request-id"] = b"made up"
        body = body.replace(made_up, b"made up")
    return sent.status, sorted(headers.items()), body


def by_router(app: FastAPI) -> ASGIApp:
    """The same application without the shortcut."""
    state: State = app.state  # type: ignore[assignment]
    registry = copy.copy(state.registry)
    registry.endpoints = {}
    return in_front_of(app.build_middleware_stack(), app, registry, state.sinks, state.access)


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
