"""Liveness and readiness: an idle engine is both, one with a stuck batch is neither, one that drains is alive."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from fastapi import FastAPI

from service.app import is_alive
from service.engine.batcher import Batcher

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]


class Clock:
    """Stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("service.engine.batcher.time", clock)
    return clock


async def test_an_idle_batcher_does_not_stop(batcher: Batcher, clock: Clock, busy: Busy) -> None:
    assert batcher.seconds_without_beat == 0
    async with busy(batcher):
        pass
    clock.now += 1e6
    assert batcher.seconds_without_beat == 0


async def test_a_turn_that_does_not_end_is_noticed(batcher: Batcher, clock: Clock, busy: Busy) -> None:
    async with busy(batcher):
        clock.now += 100
        assert batcher.seconds_without_beat == 100
    assert await batcher.call(lambda: 7) == 7
    while batcher.seconds_without_beat:  # noqa: ASYNC110  the answer comes a moment before the turn is over
        await asyncio.sleep(0)


async def test_a_long_turn_that_gives_signs_of_life_is_not_stuck(batcher: Batcher, clock: Clock) -> None:
    """Neither is it itself, nor does the work count as unnoticed that waits for its end."""
    loop, entered, beaten = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    go_on, end = threading.Event(), threading.Event()

    def work() -> int:
        loop.call_soon_threadsafe(entered.set)
        assert go_on.wait(20)
        batcher.beat()
        loop.call_soon_threadsafe(beaten.set)
        assert end.wait(20)
        return 7

    long = asyncio.ensure_future(batcher.call(work))
    await entered.wait()
    waiting = asyncio.ensure_future(batcher.call(lambda: 8))
    await asyncio.sleep(0)
    clock.now += 100
    batcher.beat()  # that of another thread is no sign of life of the worker
    assert batcher.seconds_without_beat == 100
    go_on.set()
    await beaten.wait()
    assert batcher.seconds_without_beat == 0
    clock.now += 40
    assert batcher.seconds_without_beat == 40
    end.set()
    assert (await long, await waiting) == (7, 8)


async def test_work_that_nobody_looks_at_is_noticed(clock: Clock) -> None:
    batcher = Batcher("never started")
    waiting = asyncio.ensure_future(batcher.call(lambda: 7))
    await asyncio.sleep(0)
    clock.now += 100
    assert batcher.seconds_without_beat == 100
    waiting.cancel()


async def test_stuck_is_neither_alive_nor_ready(client: httpx.AsyncClient, app: FastAPI, busy: Busy) -> None:
    for path in ("/health/live", "/health/ready"):
        assert (await client.get(path)).status_code == 200
    assert is_alive(app)
    app.state.heartbeat_seconds = 0.0
    async with busy(app.state.service.pipeline.catalog.device._batcher):
        for path in ("/health/live", "/health/ready"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "device_stuck")
        assert not is_alive(app)


async def test_draining_is_alive_and_not_ready_and_answers(client: httpx.AsyncClient, app: FastAPI) -> None:
    app.state.draining = True
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["code"], "retry-after" in answer.headers) == (503, "draining", True)
    for path in ("/health/live", "/sample"):
        assert (await client.get(path)).status_code == 200
