"""Searches through the application, on every backend: keys of filters, an item's own neighbors, and models by their digest."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.formats import png
from tests.service.rest.test_errors import check
from tests.service.store.test_http import ITEMS, SEARCH, add, item, serving


@pytest.fixture
async def client(weights: Path, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with an empty collection."""
    async with serving(weights, address) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        yield client


async def test_keys_that_no_item_has_are_named(client: httpx.AsyncClient) -> None:
    """By a search and by a list alike; without such keys nothing is added to the answer."""
    await add(client, item(id="a", metadata={"label": 1, "tags": ["red", "blue"], "geo": {"city": "Rome"}}), item(id="b"))
    for filter, ids, unknown, similar in (
        ({"lable": 1}, [], ["lable"], {"lable": "label"}),
        ({"lable": {"ne": 1}, "x": {"exists": False}}, ["a", "b"], ["lable", "x"], {"lable": "label"}),
        ({"geo.town": "Rome"}, [], ["geo.town"], None),
        ({"tags": "red", "geo.city": {"contains": "om"}}, ["a"], None, None),
    ):
        text = json.dumps(filter)
        found = (await client.post(SEARCH, json={**item(), "filter": filter})).raise_for_status().json()
        listed = (await client.get(ITEMS, params={"filter": text})).raise_for_status().json()
        assert [one["id"] for one in found["neighbors"]] == [one["id"] for one in listed["items"]] == ids
        for answer in (found, listed):
            assert (answer.get("unknown_keys"), answer.get("did_you_mean")) == (unknown, similar)
        refused = await client.get(ITEMS, params={"filter": text, "strict": "true"})
        if unknown:
            hint = "did you mean 'label'?" if similar else "known keys: geo"
            check(refused, 409, "unknown_key", f"has {unknown[0]!r} in its metadata; {hint}")
        else:
            assert refused.json() == listed
        again = await client.post(f"{SEARCH}?strict=true", json={**item(), "filter": filter})
        assert again.status_code == refused.status_code


async def test_only_queries_in_a_list_have_numbers(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await add(client, {"id": "a", "mu": [0, 0, 0]})
    for query, reason in (
        ({"image": "!"}, "the picture is not valid base64"),
        ({"mu": [0, 0]}, "mu must be a list of 3"),
        ({"mu": [0, 0, 1e9]}, "latents must be finite"),
        ({"mu": [0, 0, 0], "sigma": [0, 0, 0]}, "each sigma must be above 0"),
        ({"mu": [0, 0, 0], "metric": "jeffreys"}, "the metric jeffreys needs a sigma"),
    ):
        options = {"metric": query.pop("metric", "l2")}
        alone = (await client.post(SEARCH, json={**query, **options})).json()
        assert alone["detail"].startswith(reason)
        assert "item" not in alone
        listed = (await client.post(SEARCH, json={"queries": [query], **options})).json()
        assert (listed["detail"][:8], listed["item"]) == ("item 0: ", 0)
    for queries, place in (([{"id": "nobody"}], 0), ([{"id": "a"}, {"id": "nobody"}], 1)):
        problem = await client.post(SEARCH, json={"queries": queries})
        assert check(problem, 404, "unknown_item", f"item {place}: the collection")["item"] == place
    assert "item" not in check(await client.post(SEARCH, json={"id": "nobody"}), 404, "unknown_item")
    monkeypatch.setattr("service.store.sqlite.search.MOST_MEASURED", 0)  # Each query has its own turn.
    asked = {"queries": [item(sigma=[1, 1, 1]), item()], "metric": "hellinger"}
    problem = await client.post(SEARCH, json=asked)
    assert check(problem, 422, "unusable_input", "item 1: the metric hellinger needs a sigma")["item"] == 1
    cut = png.write(np.zeros((8, 8, 1), np.uint8))[:45]
    for path in (SEARCH, ITEMS):
        problem = (await client.post(path, content=cut)).json()
        assert "item" not in problem
        assert "item" not in problem["detail"]
    picture = await client.post(f"{SEARCH}?include=picture", json={"id": "a"})
    check(picture, 422, "invalid_parameter", "for the original: GET /collections/{name}/items/{id}/picture")


async def test_an_item_is_not_its_own_neighbor(client: httpx.AsyncClient) -> None:
    await add(client, *(item(i / 10, id=f"{i}") for i in range(5)))
    for body, nearest in (
        ({"id": "2", "k": 3}, [["2", "1", "3"]]),
        ({"id": "2", "k": 2, "exclude_self": True}, [["1", "3"]]),
        ({"queries": [{"id": "0"}, item(0.0)], "k": 2, "exclude_self": True}, [["1", "2"], ["0", "1"]]),
    ):
        found = (await client.post(SEARCH, json=body)).raise_for_status().json()
        results = found.get("results", [found])
        assert [{one["id"] for one in result["neighbors"]} for result in results] == list(map(set, nearest))


async def test_a_model_is_found_under_another_name(
    weights: Path, address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By its digest: renamed, and beside another model that has the old name now."""
    async with serving(weights, address) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        await add(client, item(id="a"))
        digest = (await client.get("/collections/some")).json()["digest"]
    shutil.copytree(weights / "grey", tmp_path / "models" / "grey-v1")
    renamed = {"default_model": "grey-v1", "models_dir": tmp_path / "models"}
    async with serving(weights, address, **renamed) as (_, client):
        assert "not loaded" not in caplog.text
        info = (await client.get("/collections/some")).json()
        assert (info["model"], info["loaded_as"]) == ("grey", "grey-v1")
        for model in (None, "grey", "grey-v1", f"grey-v1@sha256:{digest}", f"grey@sha256:{digest}"):
            stated = {} if model is None else {"model": model}
            found = await client.post(SEARCH, json={**item(), **stated, "k": 1, "include": "image"})
            assert [one["id"] for one in found.raise_for_status().json()["neighbors"]] == ["a"]
        picture = png.write(np.zeros((8, 8, 1), np.uint8))
        (await client.post(f"{ITEMS}?model=grey-v1", content=picture)).raise_for_status()
        for stated in ({}, {"model": "grey"}):  # the old name, which no other model has, changes nothing
            put = (await client.put("/collections/some", json={**stated, "metric": "w2"})).raise_for_status().json()
            assert (put["model"], put["loaded_as"], put["metric"]) == ("grey", "grey-v1", "w2")
        check(await client.post(SEARCH, json={**item(), "model": "gray"}), 404, "unknown_model", "grey-v1")
    shutil.copytree(weights / "colour", tmp_path / "models" / "grey")
    async with serving(weights, address, **renamed) as (_, client):
        (await client.post(SEARCH, json=item())).raise_for_status()
        check(await client.post(SEARCH, json={**item(), "model": "grey"}), 409, "model_mismatch", digest)
        put = await client.put("/collections/some", json={"model": "grey-v1"})
        assert (put.json()["model"], "loaded_as" in put.json()) == ("grey-v1", False)
        (await client.post(SEARCH, json={**item(), "model": "grey-v1"})).raise_for_status()
