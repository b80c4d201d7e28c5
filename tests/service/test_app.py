"""The application's start and end: what it loads, what it says when it cannot, and what it leaves behind."""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from service.app import create_app
from service.engine.errors import DeviceLost
from service.engine.lane import LaneConfig
from service.settings import Settings


def settings(weights: Path, **more: object) -> Settings:
    return Settings(**{"models_dir": weights, "device": "cpu", "threads": 1, "max_batch": 8, **more})  # type: ignore[arg-type]


async def failure(chosen: Settings) -> tuple[str, int]:
    """Why the application did not start, and how often it said so to who started it."""
    calls: list[bool] = []
    app = create_app(chosen, on_failed_start=lambda: calls.append(True))
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), 30)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            assert (await client.get("/health/ready")).status_code == 503
    return app.state.failure, len(calls)


async def test_it_starts_serves_and_ends_without_a_thread_left(weights: Path) -> None:
    before = set(threading.enumerate())
    failed: list[bool] = []
    app = create_app(settings(weights), on_failed_start=lambda: failed.append(True))
    assert set(threading.enumerate()) <= before  # threads of earlier tests may still be ending
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), 30)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            assert (await client.get("/health/ready")).json() == {"status": "ready"}
            assert (await client.get("/sample?n=3&seed=1")).status_code == 200
    assert (app.state.service, app.state.failure, failed) == (None, "", [])
    left = [thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("asyncio_")]
    for thread in left:  # nobody waits for those that are at rest, but they are told; the loop's own end with the loop
        thread.join(30)
    assert [thread.name for thread in left if thread.is_alive()] == []


async def test_it_says_what_it_computes_with(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(settings(weights, models=("grey",), engine="torch"))
    with caplog.at_level(logging.INFO):
        async with app.router.lifespan_context(app):
            await asyncio.wait_for(app.state.started.wait(), 30)
    assert "ready: grey on cpu by torch in float32, 1 thread" in caplog.messages
    assert [
        line
        for line in caplog.messages
        if line.startswith("grey decode, float32, milliseconds per batch: ") and " 8 rows " in line
    ]


async def test_a_process_whose_device_is_lost_is_neither_ready_nor_alive(weights: Path) -> None:
    def lose(blocks: list[Any]) -> list[Any]:
        raise DeviceLost("CUDA error: an illegal memory access")

    app = create_app(settings(weights, models=("grey",)))
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), 30)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            assert (await client.get("/health/live")).status_code == 200
            with pytest.raises(DeviceLost):
                await app.state.service.pipeline.catalog.device._batcher.lane(
                    LaneConfig(lose, np.concatenate, max_batch=8, max_queue_rows=8, max_rows=8)
                ).submit(np.zeros(1))
            for path in ("/health/live", "/health/ready"):
                answer = await client.get(path)
                assert (answer.status_code, answer.json()["code"]) == (503, "device_lost")
                assert "illegal memory access" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"models": ("purple",)}, "cannot load the model purple: "),
        ({"default_model": "purple"}, "the default model 'purple' is not loaded; loaded models: colour, grey"),
        ({"models_dir": Path("/nowhere")}, "the models' directory /nowhere does not exist"),
    ],
)
async def test_a_start_that_fails_says_why(
    weights: Path, more: dict[str, object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        said, calls = await failure(settings(weights, **more))
    assert said.startswith(reason)
    assert calls == 1
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert reason in record.getMessage()
    assert not record.exc_info  # the reason is enough


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
async def test_a_device_that_is_not_there_ends_the_start(weights: Path) -> None:
    said, calls = await failure(settings(weights, device="cuda"))
    assert said.startswith("cannot use the device cuda: ")
    assert calls == 1


async def test_leaving_while_it_loads_is_harmless(weights: Path) -> None:
    app = create_app(settings(weights))
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0)  # it has begun
    assert app.state.started.is_set()
    assert app.state.service is None


async def test_no_answer_leads_to_the_host_that_the_caller_names(client: httpx.AsyncClient) -> None:
    paths = [
        "/",
        "/docs",
        "/docs/",
        "/explore/",
        "/openapi.json",
        "/encode/",
        "/encode///",
        "/collections/a%2Fb/?x=1",
        "/models/grey/",
        "//x/",
        "/x/",
    ]
    for host in ("evil", "evil:80"):  # names without a dot are allowed
        for path in paths:
            answer = await client.get(path, headers={"host": host, "x-forwarded-host": host, "x-forwarded-proto": "evil"})
            assert b"evil" not in answer.content + b"".join(value for _, value in answer.headers.raw), path


@pytest.mark.parametrize(
    ("path", "found"), [("/models/", "/models"), ("/models/?a=b", "/models?a=b"), ("/models/grey/", "/models/grey")]
)
async def test_a_slash_too_many_leads_to_the_path_without_it(client: httpx.AsyncClient, path: str, found: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 307
    assert answer.url.join(answer.headers["location"]) == f"http://test{found}"
    assert answer.headers["x-request-id"]
    assert (await client.get("/nothing/")).status_code == 404


@pytest.mark.parametrize(
    ("accept", "path"), [("*/*", "/docs"), ("application/json", "/docs"), ("", "/docs"), ("text/html,*/*;q=0.8", "/explore")]
)
async def test_the_front_page_leads_programs_to_the_documentation(client: httpx.AsyncClient, accept: str, path: str) -> None:
    answer = await client.get("/", headers={"accept": accept}, follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, path)


@pytest.mark.parametrize("path", ["/encode", "/models", "/info", "/health/ready"])
async def test_before_the_models_are_loaded_the_service_says_so(weights: Path, path: str) -> None:
    app = create_app(Settings(models_dir=weights, device="cpu", threads=1))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.request("POST" if path == "/encode" else "GET", path)
        assert (answer.status_code, answer.json()["code"]) == (503, "starting")
        assert answer.headers["retry-after"] == "1"
        assert (await client.get("/health/live")).status_code == 200
