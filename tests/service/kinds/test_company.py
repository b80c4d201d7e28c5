"""The same bytes alone and among 64 of mixed lengths, for every kind and operation; and work that is long lets others in."""

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from tests.service.kinds.kind_requests import KINDS, About

pytestmark = pytest.mark.asyncio(loop_scope="session")


def requests_about(about: About) -> list[tuple[str, str, dict[str, Any]]]:
    """Return requests about single items."""
    item, model = about.items[2], f"model={about.model}"
    z = {"z": [[0.3, -1.0, 0.5, 1.2]]}
    return [
        ("POST", f"/encode?{model}", {"json": {about.one: item}}),
        ("POST", f"/decode?{model}", {"json": z}),
        ("GET", f"/sample?{model}&seed=3", {}),
        ("POST", f"/interpolate?{model}&steps=3", {"json": {"start": {about.one: item}, "end": {"z": z["z"][0]}}}),
        ("POST", f"/reconstruct?{model}", {"json": {about.one: item}}),
        ("POST", f"/score?{model}&scores={'surprise,deviance' if about.many == 'rows' else 'nll'},elbo,iwae&samples=2",
         {"json": {about.one: item}}),
        *([] if about.many == "rows" else [
            ("POST", f"/decode?{model}&temperature=1&seed=3", {"json": z}),
            ("POST", f"/complete?{model}&seed=3&n=2", {"json": {about.one: item[:3]}}),
        ]),
    ]  # fmt: skip


@pytest.mark.parametrize("about", KINDS, ids=[about.model for about in KINDS])
async def test_the_same_bytes_alone_and_among_64(client: httpx.AsyncClient, app: FastAPI, about: About) -> None:
    asked = requests_about(about)
    alone = [(await client.request(method, path, **more)).content for method, path, more in asked]
    assert all(b'"model"' in answer for answer in alone)
    noise = np.random.default_rng(0)
    others = []
    for i in range(64):
        item = about.items[i % len(about.items)]
        if about.many != "rows":
            item = item[: int(noise.integers(1, len(item) + 1))]
        others.append(client.post(f"/reconstruct?model={about.model}", json={about.one: item}))
    lanes = app.state.service.pipeline.catalog.get(about.model).lanes
    before = lanes["decode"].stats.batches, lanes["decode"].stats.rows
    company = await asyncio.gather(*others, *(client.request(method, path, **more) for method, path, more in asked))
    assert [answer.content for answer in company[64:]] == alone
    assert all(answer.status_code == 200 for answer in company)
    after = lanes["decode"].stats.batches, lanes["decode"].stats.rows
    assert after[1] - before[1] > 2 * (after[0] - before[0])  # They did share batches.


async def test_a_long_decode_is_admitted_once_and_lets_others_in(client: httpx.AsyncClient, app: FastAPI) -> None:
    catalog = app.state.service.pipeline.catalog
    steps, pictures = catalog.get("strokes").lanes["decode"], catalog.get("grey").decode
    first = steps.stats.batches
    long = [asyncio.ensure_future(client.get(f"/sample?model=strokes&n=64&seed={i}&format=json")) for i in range(4)]
    while steps.stats.batches < first + 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert steps.queued_rows >= 3 * 64  # All of them count until they have ended, but those of the running batch.
    refused = await client.get("/sample?model=strokes&n=64")
    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    batches, done = [], pictures.stats.batches
    while not all(task.done() for task in long):
        before = steps.stats.batches
        assert (await client.post("/decode", json={"z": [[0.1, 0.2, 0.3]]})).status_code == 200
        batches.append(steps.stats.batches - before)
    assert pictures.stats.batches > done
    assert len(batches) > 4
    assert max(batches) <= 4  # Between a picture and its answer, few batches of the others.
    assert [(await task).status_code for task in long] == [200] * 4
    assert steps.queued_rows == steps.waiting_rows == 0


async def test_who_leaves_gives_his_rows_back(client: httpx.AsyncClient, app: FastAPI) -> None:
    steps = app.state.service.pipeline.catalog.get("strokes").lanes["decode"]
    first = steps.stats.batches
    task = asyncio.ensure_future(client.get("/sample?model=strokes&n=64"))
    while steps.stats.batches == first:  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await client.get("/sample?model=strokes&n=1")).status_code == 200
    assert steps.queued_rows == 0
    late = await client.get("/sample?model=strokes&n=64&timeout_ms=1")
    assert late.status_code == 504
    assert steps.queued_rows == 0
