"""The paths of collections and items, on every backend: which model they are for, slashes too many, names that are unknown."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.rest.test_errors import check
from tests.service.store.test_http import ITEMS, add, item, serving


@pytest.fixture
async def client(weights: Path, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with an empty collection."""
    async with serving(weights, address) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        yield client


async def test_a_request_that_states_another_model_is_refused(client: httpx.AsyncClient) -> None:
    """Above all before anything is deleted."""
    await add(client, item(id="a"))
    requests: list[tuple[str, str, Any]] = [
        ("GET", "/collections/some", None),
        ("GET", ITEMS, None),
        ("GET", f"{ITEMS}/a", None),
        ("GET", f"{ITEMS}/a/picture", None),
        ("PATCH", f"{ITEMS}/a", {"n": 1}),
        ("POST", "/collections/some/delete", {"filter": {"n": 1}}),
        ("POST", "/collections/some/delete", {"ids": ["a"]}),
        ("DELETE", f"{ITEMS}/a", None),
        ("DELETE", "/collections/some", None),
    ]
    for model, status, code in (("colour", 409, "model_mismatch"), ("gray", 404, "unknown_model")):
        for method, path, body in requests:
            check(await client.request(method, path, params={"model": model}, json=body), status, code)
        check(await client.post("/collections/some/delete", json={"ids": ["a"], "model": model}), status, code)
        assert (await client.get(f"{ITEMS}/a")).status_code == 200
    for method, path, body in requests:
        answer = await client.request(method, path, params={"model": "grey"}, json=body)
        assert answer.status_code == 200 or answer.json()["code"] in ("no_picture", "unknown_item")
    (await client.put("/collections/other", json={"model": "colour"})).raise_for_status()
    for query, names in (("", ["other"]), ("?model=colour", ["other"]), ("?model=grey", [])):
        listed = (await client.get(f"/collections{query}")).raise_for_status().json()["collections"]
        assert [one["name"] for one in listed] == names
    check(await client.get("/collections?model=gray"), 404, "unknown_model")


async def test_a_slash_after_items_is_one_too_many(client: httpx.AsyncClient) -> None:
    await add(client, item(id="a"))
    for method in ("GET", "POST", "PATCH"):
        answer = await client.request(method, f"{ITEMS}/?limit=1")
        assert (answer.status_code, answer.url.join(answer.headers["location"]).path) == (307, ITEMS)
    check(await client.delete(f"{ITEMS}/"), 404, "not_found")
    followed = await client.post(f"{ITEMS}/", json={"items": [item(id="b")]}, follow_redirects=True)
    assert followed.raise_for_status().json()["added"] == ["b"]


async def test_an_unknown_collection_is_told_what_there_is(client: httpx.AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        problem = await client.request(method, "/collections/nothing")
        check(problem, 404, "unknown_collection", "there is no collection 'nothing'; GET /collections?training=true lists all")
        check(await client.request(method, "/collections/sone"), 404, "unknown_collection", "did you mean some?")
