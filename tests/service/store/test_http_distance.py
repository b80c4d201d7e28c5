"""By which distance a collection is searched, on every backend: the model's choice, the collection's, or that of a search."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from models.checkpoint import read, record_metric
from models.metric_choice import MetricChoice
from tests.service.rest.test_errors import check
from tests.service.store.test_http import SEARCH, add, item, serving

COLLECTION = "/collections/some"


@pytest.fixture
async def client(weights: Path, address: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose model "grey" is best searched by w2 with a sigma_weight of 3; "plain" has no choice."""
    directory = tmp_path / "models"
    for name in ("grey", "plain"):
        shutil.copytree(weights / "grey", directory / name)
    before = read(directory / "grey").digest
    record_metric(directory / "grey", MetricChoice("w2", 3.0, "5-NN accuracy of 500 validation pictures"))
    assert read(directory / "grey").digest == before  # so that its mixture and its collections go on
    async with serving(weights, address, models_dir=directory) as (_, client):
        yield client


async def put(client: httpx.AsyncClient, **stated: object) -> tuple[str, float | None]:
    made = (await client.put(COLLECTION, json=stated)).raise_for_status().json()
    assert (await client.get(COLLECTION)).json() == made
    assert made in (await client.get("/collections")).json()["collections"]
    return made["metric"], made.get("sigma_weight")


async def test_a_new_collection_has_the_distance_of_its_model(client: httpx.AsyncClient) -> None:
    models = (await client.get("/models")).json()["models"]
    best = {"metric": "w2", "sigma_weight": 3.0, "chosen_by": "5-NN accuracy of 500 validation pictures"}
    plain = {"metric": "l2", "sigma_weight": None, "chosen_by": ""}
    assert {model["name"]: model["search"] for model in models} == {"grey": best, "plain": plain}
    assert await put(client) == ("w2", 3.0)
    assert await put(client, description="mine") == ("w2", 3.0)
    await client.delete(COLLECTION)
    assert await put(client, model="plain") == ("l2", None)
    for stated, made in (
        ({"metric": "w2"}, ("w2", 1.0)),
        ({"metric": "cosine"}, ("cosine", None)),
        ({"sigma_weight": 2}, ("w2", 2.0)),
        ({"metric": "w2", "sigma_weight": 0.3}, ("w2", 0.3)),
    ):
        await client.delete(COLLECTION)
        assert await put(client, **stated) == made


async def test_a_put_changes_what_it_states(client: httpx.AsyncClient) -> None:
    await put(client)
    for stated, made in (
        ({"sigma_weight": 2.5}, ("w2", 2.5)),
        ({}, ("w2", 2.5)),
        ({"metric": "w2"}, ("w2", 1.0)),  # the published distance
        ({"metric": "l2"}, ("l2", None)),
        ({}, ("l2", None)),
        ({"metric": "w2", "sigma_weight": 4}, ("w2", 4.0)),
    ):
        assert await put(client, **stated) == made
    refused = await client.put(COLLECTION, json={"metric": "l2", "sigma_weight": 2})
    check(refused, 422, "invalid_parameter", "the metric is l2: leave it out, or add metric=w2")
    for weight, reason in ((0, "above 0"), (-1, "above 0"), (1001, "at most 1000"), ("x", "a number")):
        refused = await client.put(COLLECTION, json={"sigma_weight": weight})
        check(refused, 422, "invalid_parameter", f"sigma_weight must be {reason}")
    assert await put(client) == ("w2", 4.0)


async def test_a_search_states_its_own_distance(client: httpx.AsyncClient) -> None:
    await put(client)
    mu, sigma = np.array([[0, 0, 0], [0.5, 0, 0]]), np.array([[0.5, 0.5, 0.5], [0.1, 0.1, 0.1]])
    await add(client, *({"id": f"{i}", "mu": mu[i].tolist(), "sigma": sigma[i].tolist()} for i in range(2)))
    query = {"mu": [0.0, 0.0, 0.0], "sigma": [0.1, 0.1, 0.1]}
    for stated, metric, weight in (
        ({}, "w2", 3.0),
        ({"sigma_weight": 0.25}, "w2", 0.25),
        ({"metric": "w2"}, "w2", 1.0),
        ({"metric": "w2", "sigma_weight": 2}, "w2", 2.0),
        ({"metric": "l2"}, "l2", None),
    ):
        found = (await client.post(SEARCH, json={**query, **stated})).raise_for_status().json()
        assert (found["metric"], found.get("sigma_weight")) == (metric, weight)
        wanted = np.linalg.norm(np.hstack([mu, (weight or 0) * (sigma - 0.1)]), axis=1)  # with sigma as float32
        for neighbor in found["neighbors"]:
            assert neighbor["distance"] == pytest.approx(wanted[int(neighbor["id"])], rel=1e-6)
        assert [one["id"] for one in found["neighbors"]] == [str(i) for i in np.argsort(wanted)]
    jeffreys = (await client.post(SEARCH, json={**query, "metric": "jeffreys"})).raise_for_status().json()
    assert (jeffreys["metric"], "sigma_weight" in jeffreys) == ("jeffreys", False)
    refused = await client.post(SEARCH, json={**query, "metric": "jeffreys", "sigma_weight": 2})
    check(refused, 422, "invalid_parameter", "sigma_weight is a parameter of the metric w2, but the metric is jeffreys")


async def test_a_parameter_that_was_removed_says_so(client: httpx.AsyncClient) -> None:
    await put(client)
    for asked in ({"params": {"active_only": "true"}, "json": item()}, {"json": item(active_only=False)}):
        refused = await client.post(SEARCH, **asked)  # type: ignore[arg-type]
        check(refused, 422, "invalid_parameter", "the parameter 'active_only' was removed")


async def test_a_query_without_a_sigma_is_warned_of(client: httpx.AsyncClient) -> None:
    """It is a point, which w2 finds far from everything; only if the caller did not ask for w2, and not for items alike."""
    await put(client)
    point = {"mu": [0.0, 0.0, 0.0]}
    await add(client, {"id": "point", **point})
    assert "warnings" not in (await client.post(SEARCH, json=point)).json()
    await add(client, item(id="a", sigma=[1, 1, 1]))
    both = {"queries": [item(sigma=[1, 1, 1]), point, {"id": "point"}]}
    (warning,) = (await client.post(SEARCH, json=both)).raise_for_status().json()["warnings"]
    assert (warning["item"], warning["code"]) == (1, "no_sigma")
    for metric in ("w2", "l2"):
        assert "warnings" not in (await client.post(SEARCH, json={**point, "metric": metric})).raise_for_status().json()
