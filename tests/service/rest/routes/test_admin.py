"""/admin: models come, go and are replaced while the application serves; requests in flight keep what they have."""

import asyncio
import gc
import logging
import shutil
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI

import models
from models import VAE, VAEConfig
from models.checkpoint import read
from models.golden import GOLDEN, write_golden
from service.app import create_app
from service.engine.batcher import Batcher
from service.inference.catalog import Catalog
from service.settings import Settings

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]


def save(directory: Path, seed: int) -> None:
    torch.manual_seed(seed)
    models.save(directory, VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Two models that are loaded, and `spare`, which is not."""
    for seed, name in enumerate(("first", "second", "spare")):
        save(tmp_path / "models" / name, seed)
    return tmp_path / "models"


@pytest.fixture
async def app(shelf: Path, tmp_path: Path) -> AsyncIterator[FastAPI]:
    settings = Settings(
        models_dir=shelf,
        models=("first", "second"),
        default_model="first",
        device="cpu",
        threads=1,
        engine="torch",
        max_batch=16,
        store=str(tmp_path / "latents.db"),
        admin=True,
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), 30)
        assert app.state.failure == ""
        yield app


def catalog_of(app: FastAPI) -> Catalog:
    catalog: Catalog = app.state.service.pipeline.catalog
    return catalog


def lanes(app: FastAPI) -> int:
    return len(catalog_of(app).device._batcher._lanes)


async def change(client: httpx.AsyncClient, name: str, what: str) -> httpx.Response:
    return await client.post(f"/admin/models/{name}/{what}")


def problem(answer: httpx.Response, status: int, code: str, words: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert words in body["detail"]


async def test_load_and_unload(client: httpx.AsyncClient, app: FastAPI, shelf: Path) -> None:
    digest = read(shelf / "spare").digest
    loaded = (await change(client, "spare", "load")).raise_for_status()
    assert loaded.json() | {"seconds": 0} == {"model": "spare", "digest": digest, "previous": None, "seconds": 0}
    assert loaded.headers["cache-control"] == "no-store"
    assert [one["name"] for one in (await client.get("/models")).json()["models"]] == ["first", "second", "spare"]
    assert (await client.get("/sample?model=spare")).headers["x-model"] == f"spare@sha256:{digest}"
    problem(await change(client, "spare", "load"), 409, "already_loaded", "reload")
    gone = (await change(client, "spare", "unload")).raise_for_status().json()
    assert (gone["digest"], gone["previous"]) == (None, digest)
    problem(await client.get("/sample?model=spare"), 404, "unknown_model", "first, second")
    assert catalog_of(app).loads == {("first", "ok"): 1, ("second", "ok"): 1, ("spare", "ok"): 1}


async def test_what_cannot_be_done_is_told_with_its_reason(client: httpx.AsyncClient, shelf: Path) -> None:
    problem(await change(client, "first", "unload"), 409, "still_needed", "default model")
    problem(await change(client, "thrid", "unload"), 404, "unknown_model", "first, second")
    problem(await change(client, "thrid", "reload"), 404, "unknown_model", "first, second")
    problem(await change(client, "thrid", "load"), 404, "no_checkpoint", "available: first, second, spare")
    problem(await change(client, "..", "load"), 404, "not_found", "no endpoint at")
    problem(await change(client, ".hidden", "load"), 404, "no_checkpoint", "available")
    problem(await client.post("/admin/models/first/reload?force=1"), 422, "invalid_parameter", "force")
    problem(await client.post("/admin/models/first/reload", content=b"{}"), 415, "unsupported_media_type", "no body")
    shutil.rmtree(shelf / "second")
    problem(await change(client, "second", "reload"), 404, "no_checkpoint", "available: first, spare")
    assert (await client.get("/sample?model=second")).status_code == 200


async def test_it_is_off_unless_it_is_asked_for(weights: Path, tmp_path: Path) -> None:
    app = create_app(Settings(models_dir=weights, store=str(tmp_path / "latents.db")))
    assert not [path for path in app.openapi()["paths"] if "admin" in path]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        problem(await change(client, "grey", "reload"), 404, "not_found", "no endpoint at")


async def test_requests_in_flight_finish_on_the_old_model(
    client: httpx.AsyncClient, app: FastAPI, shelf: Path, busy: Busy
) -> None:
    old = (await client.get("/sample?n=3&seed=1&format=npy")).raise_for_status()
    everything = lanes(app)
    save(shelf / "first", 7)
    batcher = catalog_of(app).device._batcher
    async with busy(batcher):
        flying = asyncio.ensure_future(client.get("/sample?n=3&seed=1&format=npy"))
        while not catalog_of(app).get("first").decode.queued_rows:  # noqa: ASYNC110
            await asyncio.sleep(0)
        reloading = asyncio.ensure_future(change(client, "first", "reload"))
    answer, changed = await flying, (await reloading).raise_for_status().json()
    assert (answer.content, answer.headers["x-model"]) == (old.content, old.headers["x-model"])
    new = await client.get("/sample?n=3&seed=1&format=npy")
    assert new.headers["x-model"] == f"first@sha256:{changed['digest']}"
    assert new.content != old.content
    del flying, reloading
    await asyncio.sleep(0)
    assert lanes(app) == everything


async def test_the_old_model_is_freed_when_the_last_request_has_finished(
    client: httpx.AsyncClient, app: FastAPI, shelf: Path
) -> None:
    everything = lanes(app)
    kept = catalog_of(app).get("first")
    old = weakref.ref(kept.decode)
    save(shelf / "first", 7)
    gc.disable()
    try:
        (await change(client, "first", "reload")).raise_for_status()
        assert lanes(app) == everything + 3  # somebody has it
        assert (await kept.decode.submit(np.zeros((1, 3), np.float32))).shape == (1, 8, 8, 1)
        del kept
        await asyncio.sleep(0)  # the loop forgets the lanes
        assert lanes(app) == everything
        assert old() is None
        (await change(client, "second", "unload")).raise_for_status()
        await asyncio.sleep(0)
        assert lanes(app) == everything - 3
    finally:
        gc.enable()


async def test_changes_take_turns(client: httpx.AsyncClient, app: FastAPI, shelf: Path) -> None:
    """Each replaces what the one before it has put there."""
    save(shelf / "first", 7)
    answers = await asyncio.gather(*(change(client, "first", "reload") for _ in range(4)))
    found: list[dict[str, Any]] = [answer.raise_for_status().json() for answer in answers]
    digest = read(shelf / "first").digest
    assert {one["digest"] for one in found} == {digest}
    assert sorted(one["previous"] == digest for one in found) == [False, True, True, True]
    assert catalog_of(app).loads["first", "ok"] == 5


async def test_a_model_that_does_not_give_its_golden_answer_is_not_served(
    client: httpx.AsyncClient, app: FastAPI, shelf: Path, tmp_path: Path
) -> None:
    before, everything = catalog_of(app).get("first"), lanes(app)
    save(shelf / "first", 7)
    pictures = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    write_golden(shelf / "first", read(shelf / "first"), pictures)
    (await change(client, "first", "reload")).raise_for_status()
    good = catalog_of(app).get("first")
    assert good.digest != before.digest
    # what another model answers, under the digest of this one
    save(tmp_path / "other", 8)
    other, this = read(tmp_path / "other"), read(shelf / "first")
    write_golden(shelf / "first", type(this)(other.vae, this.manifest, this.digest), pictures)
    problem(await change(client, "first", "reload"), 422, "unusable_model", "(golden.safetensors): mu differs by up to")
    assert catalog_of(app).get("first") is good
    assert catalog_of(app).loads["first", "failed"] == 1
    del before, good
    gc.collect()
    await asyncio.sleep(0)
    assert lanes(app) == everything


async def test_a_stale_golden_answer_is_a_warning(
    client: httpx.AsyncClient, shelf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_golden(shelf / "first", read(shelf / "first"), torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    save(shelf / "first", 7)
    with caplog.at_level(logging.WARNING):
        (await change(client, "first", "reload")).raise_for_status()
    assert [record for record in caplog.records if GOLDEN in record.getMessage()]


async def test_the_log_says_which_collections_have_no_model_any_more(
    client: httpx.AsyncClient, shelf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (await client.put("/collections/digits?model=first")).raise_for_status()
    save(shelf / "first", 7)
    with caplog.at_level(logging.WARNING):
        (await change(client, "first", "reload")).raise_for_status()
    assert [record for record in caplog.records if "'digits' has vectors of first@sha256:" in record.getMessage()]


async def test_a_caller_who_hangs_up_leaves_the_old_model(app: FastAPI, shelf: Path, busy: Busy) -> None:
    before = catalog_of(app).get("first")
    save(shelf / "first", 7)
    async with busy(catalog_of(app).device._batcher):
        task = asyncio.ensure_future(catalog_of(app).replace("first"))
        while not catalog_of(app).device._batcher._calls:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert catalog_of(app).get("first") is before
    assert (await catalog_of(app).replace("first")).previous == before.digest
