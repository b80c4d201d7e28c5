"""Paths through the stored items of a collection."""

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest
from torch import from_numpy
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import models
from service.inference.decoded_length import lengths, natural_for
from service.operations import graph_path as operations
from service.operations.density import MOST_RESULTS

MU = np.random.default_rng(1).standard_normal((60, 3)).astype(np.float32)
SIGMA = np.random.default_rng(2).uniform(0.2, 0.5, (60, 3)).astype(np.float32)


async def fill(client: httpx.AsyncClient, sigma: bool = True, name: str = "c", some: slice = slice(None)) -> None:
    (await client.put(f"/collections/{name}?model=grey")).raise_for_status()
    items = [
        {"id": f"i{i:02}", "mu": MU[i].tolist(), **({"sigma": SIGMA[i].tolist()} if sigma else {})} for i in range(60)[some]
    ]
    for first in range(0, len(items), 20):
        (await client.post(f"/collections/{name}/items", json={"items": items[first : first + 20]})).raise_for_status()


ENDS = {"start": {"id": "i03"}, "end": {"z": [1.0, -1.0, 0.5]}}
GRAPH = "/interpolate?collection=c&method=graph"


async def test_a_graph_path_goes_through_stored_items(client: httpx.AsyncClient) -> None:
    await fill(client)
    found = (await client.post(f"{GRAPH}&steps=9&include=z", json=ENDS)).raise_for_status().json()
    z = np.array(found["z"], np.float32)
    assert (found["method"], found["bandwidth"], found["graph"]) == ("graph", 0, {"items": 60, "count": 60})
    np.testing.assert_array_equal(z[[0, -1]], [MU[3], [1, -1, 0.5]])
    assert found["ids"]
    corners = np.array([MU[3], *(MU[int(id[1:])] for id in found["ids"]), [1, -1, 0.5]])
    for one in z:  # each frame lies on an edge
        a, b = corners[:-1], corners[1:]
        t = ((one - a) * (b - a)).sum(1) / np.maximum(((b - a) ** 2).sum(1), 1e-9)
        assert np.abs(a + np.clip(t, 0, 1)[:, None] * (b - a) - one).max(1).min() < 1e-4
    again = (await client.post(f"{GRAPH}&steps=9&include=z", json=ENDS)).json()
    assert again == found


async def test_density_and_length_are_those_of_the_frames(client: httpx.AsyncClient, weights: Path) -> None:
    await fill(client)
    for method in ("graph", "linear"):
        asked = f"/interpolate?collection=c&method={method}&steps=5&include=z,log_density&bandwidth=0.3"
        found = (await client.post(asked, json=ENDS)).raise_for_status().json()
        z = np.array(found["z"])
        scale = from_numpy(np.hypot(SIGMA.astype(np.float64), 0.3))
        parts = Independent(Normal(from_numpy(MU.astype(np.float64)), scale), 1)
        mixture = MixtureSameFamily(Categorical(from_numpy(np.full(60, 1 / 60))), parts)
        np.testing.assert_allclose(found["log_density"], mixture.log_prob(from_numpy(z)).numpy(), atol=1e-3)
        decoded = (await client.post("/decode?format=npy&dtype=float32", json={"z": found["z"]})).content
        means = np.frombuffer(decoded[-5 * 64 * 4 :], np.float32).reshape(5, 64)
        vae = models.load(weights / "grey")
        natural = natural_for(vae.decode(from_numpy(z.astype(np.float32))))
        np.testing.assert_allclose(found["length"], lengths(natural, means[:-1], means[1:]).sum(), rtol=1e-4)


async def test_the_graph_is_made_once_and_again_after_a_change(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(client)
    made, make = [], operations._made

    async def counted(*arguments: object) -> object:
        made.append(1)
        return await make(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(operations, "_made", counted)
    linear = "/interpolate?collection=c&include=log_density"
    (await client.post(linear, json=ENDS)).raise_for_status()  # reads the collection
    answers = await asyncio.gather(*(client.post(GRAPH, json=ENDS) for _ in range(4)))
    assert len({one.raise_for_status().content for one in answers}) == 1
    assert len(made) == 1
    await client.post(GRAPH, json=ENDS)
    assert len(made) == 1
    (await client.delete("/collections/c/items/i59")).raise_for_status()
    assert (await client.post(GRAPH, json=ENDS)).json()["graph"] == {"items": 59, "count": 59}
    assert len(made) == 2


async def test_a_large_collection_is_sampled_evenly(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(client)
    monkeypatch.setattr(operations, "MOST_ITEMS", 20)
    found = (await client.post(GRAPH, json=ENDS)).json()
    assert found["graph"] == {"items": 20, "count": 60}
    assert {int(id[1:]) % 3 for id in found["ids"]} == {0}
    monkeypatch.setattr(operations, "MOST_ITEMS", 60)
    monkeypatch.setattr(operations, "MOST_BYTES", 64 * 4 * 15)
    await client.delete("/collections/c/items/i59")
    assert (await client.post(GRAPH, json=ENDS)).json()["graph"] == {"items": 15, "count": 59}


async def test_the_graph_stays_whatever_else_is_asked_for(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(client)
    before = (await client.post(GRAPH, json=ENDS)).raise_for_status().json()
    monkeypatch.setattr(operations, "_made", None)
    for i in range(MOST_RESULTS + 2):
        (await client.get(f"/collections/c/map?density=4&bandwidth={i}")).raise_for_status()
    assert (await client.post(GRAPH, json=ENDS)).raise_for_status().json() == before


async def test_there_is_a_path_without_a_density(client: httpx.AsyncClient) -> None:
    ends = {"start": {"z": [0, 0, 0]}, "end": {"z": [1, 1, 1]}}
    for name, count in (("one", 1), ("equal", 3)):
        (await client.put(f"/collections/{name}?model=grey")).raise_for_status()
        items = [{"id": f"i{i}", "mu": [0.5] * 3} for i in range(count)]
        (await client.post(f"/collections/{name}/items", json={"items": items})).raise_for_status()
        asked = f"/interpolate?collection={name}&method=graph&steps=4"
        found = (await client.post(asked, json=ends)).raise_for_status().json()
        assert (len(found["images"]), len(found["ids"])) == (4, 1)
        assert (found["log_density"], found["bandwidth"]) == (None, None)
        assert found["length"] > 0
        for more in ("include=log_density", "bandwidth=0", "bandwidth=auto", "bandwidth=1e-163"):
            refused = await client.post(f"{asked}&{more}", json=ends)
            assert (refused.status_code, refused.json()["code"]) == (422, "no_density"), more


async def test_small_collections_and_items_without_sigma(client: httpx.AsyncClient) -> None:
    await fill(client, sigma=False)
    found = (await client.post(GRAPH, json=ENDS)).raise_for_status().json()
    assert found["bandwidth"] > 0
    refused = await client.post(f"{GRAPH}&bandwidth=0", json=ENDS)
    assert (refused.status_code, refused.json()["code"]) == (422, "no_density")
    await fill(client, name="one", some=slice(1))
    alone = await client.post("/interpolate?collection=one&method=graph", json={**ENDS, "start": {"id": "i00"}})
    assert alone.raise_for_status().json()["ids"] == ["i00"]
    await fill(client, name="none", some=slice(0))
    ends = {"start": {"z": [0, 0, 0]}, "end": {"z": [1, 1, 1]}}
    refused = await client.post("/interpolate?collection=none&method=graph", json=ends)
    assert (refused.status_code, "has no items" in refused.text) == (422, True)


@pytest.mark.parametrize(
    "query",
    [
        "method=graph",
        "include=log_density",
        "collection=c&method=graph&density_weight=2",
        "collection=c&method=graph&bandwidth=-1",
        "collection=c&method=graph&bandwidth=wide",
    ],
)
async def test_bad_parameters_are_refused(client: httpx.AsyncClient, query: str) -> None:
    await fill(client)
    ends = {"start": {"z": [0, 0, 0]}, "end": {"z": [1, 1, 1]}}
    refused = await client.post(f"/interpolate?{query}", json=ends)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_parameter"), refused.text
