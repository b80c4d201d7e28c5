"""The store through the application, on every backend: what is refused and how, odd names, floods, and races."""

import asyncio
import io
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import psycopg
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from service.store.postgres.store import PgvectorStore
from tests.service.rest.test_errors import check

ITEMS, SEARCH = "/collections/some/items", "/collections/some/search"
QUEUE = 64
# no test waits that long unless something hangs
PATIENCE = 30.0
IDS = [
    "a/b",
    "/a",
    "a/",
    "a//b",
    "a%2Fb",
    "%",
    "+",
    "a?b",
    "a#b",
    " ",
    "ä",
    "a\u0301",
    "items",
    "search",
    "x" * 512,
    "😀" * 512,
]


@asynccontextmanager
async def serving(weights: Path, address: str, **settings: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """The application, ready, and a client of it."""
    bounds = {"max_batch": 16, "max_queue_rows": QUEUE, "max_rows": 32} | settings
    known: dict[str, Any] = {"models_dir": weights, "default_model": "grey", "device": "cpu", "threads": 1, "store": address}
    app = create_app(Settings(**known | bounds))
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), PATIENCE)
        assert app.state.failure == ""
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=PATIENCE) as client:
            yield app, client


@pytest.fixture
async def client(weights: Path, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with an empty collection."""
    async with serving(weights, address) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        yield client


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL may be as slow as a busy machine makes it: otherwise requests get 503 after five seconds."""
    monkeypatch.setattr(PgvectorStore, "__init__", partialmethod(PgvectorStore.__init__, patience=PATIENCE))


@pytest.fixture(autouse=True)
def _no_defect(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [record for record in caplog.records if record.exc_info]


def item(value: float = 0.5, **fields: Any) -> dict[str, Any]:
    return {"mu": [value] * 3, **fields}


async def add(client: httpx.AsyncClient, *items: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(ITEMS, content=json.dumps({"items": items}))
    return answer.raise_for_status().json()  # type: ignore[no-any-return]


def npy(rows: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(rows, np.float32))
    return buffer.getvalue()


async def test_ids_of_all_kinds_come_and_go_by_their_paths(client: httpx.AsyncClient) -> None:
    await add(client, *(item(id=id, metadata={"n": i}) for i, id in enumerate(IDS)))
    for i, id in enumerate(IDS):
        got = (await client.get(f"{ITEMS}/{quote(id, safe='')}")).raise_for_status().json()
        assert (got["id"], got["metadata"]) == (id, {"n": i})
        found = (await client.post(SEARCH, json={"id": id, "k": 1, "filter": {"n": i}})).raise_for_status().json()
        assert [one["id"] for one in found["neighbors"]] == [id]
    assert (await client.get(f"{ITEMS}/a/b")).json()["id"] == "a/b"
    listed, cursor = [], ""
    while cursor is not None:  # what comes and goes meanwhile does not move the others
        page = (await client.get(ITEMS, params={"limit": 1, "cursor": cursor})).raise_for_status().json()
        listed += [one["id"] for one in page["items"]]
        cursor = page["cursor"]
        await add(client, item(id="\u00a0first"))
        (await client.delete(f"{ITEMS}/{quote(listed[-1], safe='')}")).raise_for_status()
    assert [id for id in listed if id != "\u00a0first"] == sorted(IDS, key=str.encode)


async def test_metadata_comes_back_as_it_went_in(client: httpx.AsyncClient) -> None:
    metadata = {
        "f": 0.1, "tiny": 5e-324, "large": 1.7976931348623157e308, "i": 2**53 + 1, "big": -(1 << 63), "u": (1 << 64) - 1,
        "null": None, "t": True, "0": -0.0, "nested": {"a": [1, 2.5, None, {"b": "c"}]},
        "": "empty", "ü": "\u2028 😀", 'q"\\': "\n",
        "👨‍👩‍👧": 1, "k" * 5000: "long", **{chr(0x4E00 + 7 * i) * 900: i for i in range(9)},
    }  # fmt: skip
    await add(client, item(id="a", metadata=metadata))
    got = (await client.get(f"{ITEMS}/a")).json()["metadata"]
    assert got == metadata
    assert {key: type(value) for key, value in got.items()} == {key: type(value) for key, value in metadata.items()}
    for key in ("f", "tiny", "large", "i", "big", "u", "null", "t", "0", "ü", "👨‍👩‍👧"):
        body = json.dumps({**item(), "filter": {key: metadata[key]}, "include": ["metadata", "sigma"]})
        (found,) = (await client.post(SEARCH, content=body)).raise_for_status().json()["neighbors"]
        assert (found["id"], found["metadata"], found["sigma"]) == ("a", metadata, None)


async def test_what_no_backend_can_keep_or_find(client: httpx.AsyncClient) -> None:
    check(await client.put("/collections/other", json={"description": "a\0b"}), 422, "invalid_parameter", "description")
    for name in ("%00", "%ff", "-", "a b", "x" * 101):
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/items"), ("GET", "/items/a"), ("DELETE", "/items/a")):
            check(await client.request(method, f"/collections/{name}{path}"), 404, "unknown_collection")
        check(await client.post(f"/collections/{name}/search", json=item()), 404, "unknown_collection")
    check(await client.get(f"{ITEMS}?cursor=%00"), 422, "invalid_parameter", "cursor")
    check(await client.get(f"{ITEMS}/%00"), 422, "unusable_input", "control")
    for strict in (False, True):
        empty = await client.post(SEARCH, json={**item(), "filter": {"any": 1}, "strict": strict})
        assert empty.raise_for_status().json()["neighbors"] == []
        assert empty.json()["unknown_keys"] == ["any"]


async def test_bad_items_and_queries_store_nothing(client: httpx.AsyncClient) -> None:
    await add(client, item(id="here", metadata={"label": 1}))
    check(await client.post(ITEMS, content=npy([[0, float("nan"), 0]])), 422, "unusable_input", "finite")
    check(await client.post(ITEMS, content=b'{"items": [{"mu": [NaN, 0, 0]}]}'), 400, "undecodable", "NaN")
    check(await client.post(ITEMS, content=npy([[0, 0]])), 422, "unusable_input", "(1, 2)")
    check(await client.post(SEARCH, json={"mu": [0, 0]}), 422, "unusable_input", "3 numbers")
    twice = {"items": [item(id="a"), item(id="b"), item(id="a")]}
    check(await client.post(ITEMS, json=twice), 422, "unusable_input", "item 0")
    huge = {"items": [item(id="a"), item(metadata={"x": "y" * 10_000_000})]}
    check(await client.post(ITEMS, json=huge), 413, "metadata_too_large", "65536")
    strict = {**item(), "filter": {"lable": 1}, "strict": True}
    check(await client.post(SEARCH, json=strict), 409, "unknown_key", "'label'")
    for path, body in ((ITEMS, {"items": [item()]}), (SEARCH, item())):
        problem = check(await client.post(path, json={**body, "model": "colour"}), 409, "model_mismatch")
        assert problem["detail"].count("@sha256:") == 2
    check(await client.post(SEARCH, json={**item(), "k": 10_001}), 422, "invalid_parameter", "k")
    info = (await client.get("/collections/some")).json()
    assert (info["count"], info["seq"]) == (1, 1)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/collections", "GET, HEAD"),
        ("/collections/some", "DELETE, GET, HEAD, PUT"),
        ("/collections/some/items", "GET, HEAD, POST"),
        ("/collections/some/items/a/b", "DELETE, GET, HEAD, PATCH"),
        ("/collections/some/delete", "POST"),
        ("/collections/some/search", "POST"),
    ],
)
@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
async def test_what_a_path_allows(client: httpx.AsyncClient, path: str, allowed: str) -> None:
    answer = await client.request("TRACE", path)
    check(answer, 405, "method_not_allowed", f"allowed: {allowed}")
    assert answer.headers["allow"] == allowed


@contextmanager
def locked(address: str) -> Iterator[None]:
    """Nobody else can write, as when a backup or another program holds the database."""
    if address.startswith("postgresql"):
        with psycopg.connect(address) as database:
            database.execute("SELECT * FROM vae_collections FOR UPDATE")
            yield
            database.rollback()
        return
    file = sqlite3.connect(address, isolation_level=None)
    file.execute("BEGIN IMMEDIATE")
    yield
    file.execute("ROLLBACK")
    file.close()


async def test_a_flood_of_writes_is_told_to_come_back(client: httpx.AsyncClient, address: str) -> None:
    refused, enough = 0, asyncio.Event()

    async def write(number: int) -> httpx.Response:
        nonlocal refused
        answer = await client.post(ITEMS, json={"items": [item(id=f"{number}-{i}") for i in range(4)]})
        if answer.status_code == 429:
            refused += 1
            if refused == 14:
                enough.set()
        return answer

    with locked(address):
        writes = [asyncio.ensure_future(write(number)) for number in range(QUEUE // 4 + 14)]
        await asyncio.wait_for(enough.wait(), PATIENCE)
        assert (await client.post(SEARCH, json=item())).status_code == 200  # another queue
    answers = await asyncio.gather(*writes)
    kept = [answer for answer in answers if answer.status_code == 200]
    assert len(kept) == QUEUE // 4
    for answer in answers:
        if answer not in kept:
            check(answer, 429, "queue_full")
            assert int(answer.headers["retry-after"]) >= 1
    assert (await client.get("/collections/some")).json()["count"] == QUEUE
    await add(client, item())


async def test_writes_whose_callers_have_left_leave_room(client: httpx.AsyncClient, address: str) -> None:
    with locked(address):
        for _ in range(3):
            body = {"items": [item() for _ in range(32)], "timeout_ms": 20}
            answers = await asyncio.gather(*(client.post(ITEMS, json=body) for _ in range(2)))
            for answer in answers:
                check(answer, 504, "deadline_exceeded")
    await add(client, item(id="after"))


async def test_searches_while_everything_is_taken_away(client: httpx.AsyncClient) -> None:
    """Each answer is of some moment: whole, or that the collection or the item is not there."""
    rows = [item(i / 100, id=f"{i:03d}", metadata={"i": i}) for i in range(32)]
    seen: set[int] = set()

    async def take_away() -> None:
        for _ in range(6):
            await add(client, *rows)
            (await client.delete(f"{ITEMS}/000")).raise_for_status()
            (await client.delete("/collections/some")).raise_for_status()
            (await client.put("/collections/some")).raise_for_status()

    async def ask(body: dict[str, Any], path: str = SEARCH) -> None:
        while not taking.done():
            answer = await client.post(path, json=body) if path == SEARCH else await client.get(path)
            seen.add(answer.status_code)
            if answer.status_code == 404:
                assert answer.json()["code"] in ("unknown_collection", "unknown_item")
            elif path == SEARCH:
                found = [one["id"] for one in answer.raise_for_status().json()["neighbors"]]
                assert found in ([f"{i:03d}" for i in range(5)], [f"{i:03d}" for i in range(1, 6)], []) or "id" in body

    taking = asyncio.ensure_future(take_away())
    whole = {**item(0), "k": 5, "exact": True}
    await asyncio.gather(ask(whole), ask(whole), ask({"id": "000", "k": 5}), ask({}, ITEMS), ask({}, f"{ITEMS}/000"), taking)
    assert seen == {200, 404}


async def test_neighbours_have_a_bound(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.operations.search.MOST_NEIGHBORS", 12)
    await add(client, *(item(id=f"{i}") for i in range(4)))
    body = {"queries": [item()] * 3, "k": 10_000}
    results = (await client.post(SEARCH, json=body)).raise_for_status().json()["results"]
    assert [len(result["neighbors"]) for result in results] == [4, 4, 4]
    words = "the queries ask for 16 neighbours in all; one answer may have 12. Lower k, or send fewer queries"
    check(await client.post(SEARCH, json={**body, "queries": [item()] * 4}), 413, "too_many_items", words)


async def test_a_model_that_is_not_there_is_named(weights: Path, address: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(weights, address) as (_, client):
        (await client.put("/collections/some", json={"model": "colour"})).raise_for_status()
        (await client.post(ITEMS, json={"items": [{"mu": [0] * 4}]})).raise_for_status()
        digest = (await client.get("/collections/some")).json()["digest"]
    async with serving(weights, address, models=("grey",)) as (_, client):
        assert f"has vectors of colour@sha256:{digest}, which is not loaded" in caplog.text
        answer = await client.post(SEARCH, json={"mu": [0] * 4})
        check(answer, 409, "model_not_loaded", "add the pictures again")
        stated = {"mu": [0] * 4, "model": f"colour@sha256:{digest}", "k": 1}
        assert len((await client.post(SEARCH, json=stated)).raise_for_status().json()["neighbors"]) == 1


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
async def test_the_bound_on_memory(weights: Path, address: str) -> None:
    async with serving(weights, address, store_max_bytes=1 << 20, max_rows=4096, max_queue_rows=8192) as (_, client):
        (await client.put("/collections/some")).raise_for_status()
        body = npy(np.zeros((4096, 3)))
        answers = [await client.post(ITEMS, content=body) for _ in range(8)]
        check(answers[-1], 507, "store_full", "VAE_STORE_MAX_BYTES")
        kept = 4096 * sum(answer.status_code == 200 for answer in answers)
        assert (await client.get("/collections/some")).json()["count"] == kept > 0
