"""The training latents of a model as a collection: it answers like one that callers have made, and cannot be changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from service.latents.distances import METRICS
from service.operations import graph_path
from service.operations.service import Service
from service.operations.training_collections import TrainingStore
from service.store import memory_store
from service.store.forwarding import ForwardingStore
from service.store.interface import IfExists, Items, StoreUnavailable, UnknownCollection, Upserted
from tests.service.conftest import calibration_of_grey

NAME = "training:grey"
ENDS = {"start": {"id": "03"}, "end": {"z": [1.0, -1.0, 0.5]}}


@pytest.fixture
async def copy(client: httpx.AsyncClient) -> str:
    """A collection that a caller has made of the same latents."""
    known = calibration_of_grey()
    assert known.labels is not None
    (await client.put("/collections/copy?model=grey")).raise_for_status()
    items = [
        {"id": f"{i:02}", "mu": mu.tolist(), "sigma": sigma.tolist(), "metadata": {"label": known.label_names[label]}}
        for i, (mu, sigma, label) in enumerate(zip(known.mu, known.sigma, known.labels, strict=True))
    ]
    for first in (0, 25):
        (await client.post("/collections/copy/items", json={"items": items[first : first + 25]})).raise_for_status()
    return "copy"


Ask = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]


def got(path: str) -> Ask:
    return lambda client, name: client.get(f"/collections/{name}{path}")


def posted(path: str, body: dict[str, Any]) -> Ask:
    return lambda client, name: client.post(path.format(name), json=body)


READS = {
    "items": got("/items?limit=20&include=mu,sigma"),
    "a later page": got("/items?cursor=19&limit=20"),
    "items that match": got('/items?filter={"label":"cat"}'),
    "an item": got("/items/07"),
    "points": got("/map?keys=label"),
    "points as npy": got('/map?plane=dims&dims=0,2&format=npy&filter={"label":{"in":["7"]}}'),
    "a density": got("/map?density=8"),
    "coverage": got("/coverage"),
    "directions": got("/directions"),
    "log densities": posted("/collections/{}/density", {"queries": [{"id": "03"}, {"mu": [1, 2, 3]}]}),
    "a comparison": posted("/collections/{}/compare", {"a": {"label": "cat"}, "b": {"label": "7"}}),
    "a path through items": posted("/interpolate?collection={}&method=graph&steps=4", ENDS),
    "log densities of a path": posted("/interpolate?collection={}&method=matched&include=log_density,z", ENDS),
    "points with ids": posted("/combine?collection={}&include=z", {"terms": [{"id": "03"}, {"id": "04", "weight": -1}]}),
    **{metric: posted(f"/collections/{{}}/search?metric={metric}&k=7", {"id": "11"}) for metric in METRICS},
    "with pictures": posted("/collections/{}/search?include=image,mu,sigma&k=3", {"mu": [0, 1, 0], "sigma": [1, 1, 1]}),
    "among a label": posted('/collections/{}/search?filter={{"label":"7"}}&exclude_self=true', {"id": "10"}),
}


async def test_it_answers_like_a_collection_of_the_same_items(client: httpx.AsyncClient, copy: str) -> None:
    for what, ask in READS.items():
        found, wanted = (await ask(client, NAME)).raise_for_status(), (await ask(client, copy)).raise_for_status()
        assert found.content == wanted.content, what
        assert found.headers.get("x-model") == wanted.headers.get("x-model"), what


async def test_it_is_listed_on_request(client: httpx.AsyncClient, copy: str) -> None:
    own = {"read_only": True, "count": 50, "seq": 50, "model": "grey", "metric": "l2", "keep": "nothing"}
    found = (await client.get("/collections?training=true")).json()["collections"]
    assert [one["name"] for one in found] == [copy, NAME]
    assert (await client.get(f"/collections/{NAME}")).json() == found[1]
    assert own.items() <= found[1].items()
    assert (await client.get("/collections")).json()["collections"] == found[:1]
    assert found[0]["read_only"] is False
    assert (await client.get("/collections?training=true&model=colour")).json() == {"collections": []}
    assert (await client.get(f"/collections/{NAME}?model=colour")).status_code == 409
    assert (await client.get("/collections/training%3Agrey/items/49")).json()["metadata"] == {"label": "cat"}


async def test_the_distance_is_the_one_chosen_for_the_model(service: Service) -> None:
    models = service.pipeline.catalog.models
    manifest = models["grey"].manifest
    models["grey"] = replace(models["grey"], manifest=replace(manifest, search=replace(manifest.search, metric="w2")))
    assert (await service.store.collection(NAME)).metric == "w2"


SIDES = {"positive": {"mu": [[0, 0, 1], [0, 0, 2]]}, "negative": {"mu": [[0, 0, -1], [0, 0, -2]]}}
CHANGES: dict[str, tuple[str, str, Any]] = {
    "make": ("PUT", "", {}),
    "make an unknown one": ("PUT", "2", {"model": "nothing"}),
    "drop": ("DELETE", "", None),
    "add": ("POST", "/items", {"items": [{"id": "03", "mu": [0, 0, 0]}]}),
    "change": ("PATCH", "/items/03", {"label": "7"}),
    "delete": ("DELETE", "/items/03", None),
    "delete by ids": ("POST", "/delete", {"ids": ["03"]}),
    "delete by filter": ("POST", "/delete", {"filter": {"label": "7"}}),
    "make a direction": ("PUT", "/directions/smile", SIDES),
    "delete a direction": ("DELETE", "/directions/smile", None),
}


async def test_it_cannot_be_changed(client: httpx.AsyncClient) -> None:
    before = (await client.get(f"/collections/{NAME}/items?include=mu,sigma")).json()
    for what, (method, path, body) in CHANGES.items():
        refused = await client.request(method, f"/collections/{NAME}{path}", **({} if body is None else {"json": body}))
        assert (refused.status_code, refused.json()["code"]) == (409, "read_only"), what
        assert "names that begin with 'training:' are reserved" in refused.json()["detail"]
    assert (await client.get(f"/collections/{NAME}/items?include=mu,sigma")).json() == before


async def test_what_it_does_not_have(client: httpx.AsyncClient) -> None:
    for path, code, words in (
        ("/collections/training:colour", "unknown_collection", "'colour' has no calibration that fits its weights"),
        ("/collections/training:colour/items", "unknown_collection", "python -m models.evaluate PATH --calibrate"),
        ("/collections/training:grau/items", "unknown_collection", "the loaded models are colour, grey"),
        ("/collections/training:", "unknown_collection", "training:"),
        (f"/collections/training:{NAME}", "unknown_collection", NAME),
        (f"/collections/{NAME}/items/50", "unknown_item", "'50'"),
        (f"/collections/{NAME}/items/03/picture", "no_picture", "include=image of a search decodes them"),
        (f"/collections/{NAME}/directions/smile", "unknown_direction", "smile"),
    ):
        refused = await client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (404, code), refused.text
        assert words in refused.json()["detail"]
    refused = await client.post(f"/edit?collection={NAME}", json={"z": [[0, 0, 0]], "directions": {"smile": 1}})
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_direction"), refused.text


class Counting(ForwardingStore):
    """A store in memory that counts how often items are added to it; the first few times fail."""

    def __init__(self, failures: int) -> None:
        super().__init__(memory_store())
        self.added, self._failures = 0, failures

    async def upsert(self, name: str, digest: str, items: Items, if_exists: IfExists = "replace") -> Upserted:
        self.added += 1
        if self.added <= self._failures:
            raise StoreUnavailable("for the test")
        return await super().upsert(name, digest, items, if_exists)


Made = Callable[..., tuple[TrainingStore, Counting]]


@pytest.fixture
async def made(service: Service) -> AsyncIterator[Made]:
    """Makes a store of the training latents of the service's models, over an empty one."""
    stores = list[TrainingStore]()

    def make(failures: int = 0) -> tuple[TrainingStore, Counting]:
        memory = Counting(failures)
        stores.append(TrainingStore(memory_store(), service.pipeline.catalog, memory))
        return stores[-1], memory

    yield make
    for store in stores:
        await store.close()


async def test_it_is_loaded_once_even_if_the_first_caller_leaves(made: Made) -> None:
    store, memory = made()
    first = asyncio.create_task(store.collection(NAME))
    await asyncio.sleep(0)  # it has begun
    first.cancel()
    found = await asyncio.gather(*(store.collection(NAME) for _ in range(5)))
    assert [one.count for one in found] == [50] * 5
    assert (await store.get(NAME, ["49"])).ids == ["49"]
    assert memory.added == 1


async def test_after_a_failure_it_is_loaded_again(made: Made) -> None:
    store, memory = made(failures=1)
    with pytest.raises(StoreUnavailable):
        await store.collection(NAME)
    assert (await store.collection(NAME)).count == 50
    assert memory.added == 2


async def test_a_model_that_is_replaced_while_requests_wait(service: Service, made: Made) -> None:
    models, (store, _) = service.pipeline.catalog.models, made()
    waiting = [asyncio.create_task(store.collection(NAME)) for _ in range(3)]
    await asyncio.sleep(0)  # they have begun
    known = calibration_of_grey()
    fewer = replace(known, mu=known.mu[:5], sigma=known.sigma[:5], labels=None)
    models["grey"] = replace(models["grey"], digest="ab" * 32, calibration=fewer)
    assert (await store.collection(NAME)).count == 5
    assert {one.count for one in await asyncio.gather(*waiting)} <= {5, 50}
    assert (await store.collection(NAME)).digest == "ab" * 32


async def test_it_goes_with_its_model(service: Service, made: Made) -> None:
    models, (store, memory) = service.pipeline.catalog.models, made()
    old = await store.collection(NAME)
    model, known = models["grey"], calibration_of_grey()
    fewer = replace(known, mu=known.mu[:5] + 1, sigma=known.sigma[:5], labels=None)
    models["grey"] = replace(model, digest="ab" * 32, calibration=fewer)  # reloaded
    new = await store.collection(NAME)
    assert (new.count, new.digest, new.number != old.number) == (5, "ab" * 32, True)
    item = await store.get(NAME, ["4"])
    np.testing.assert_array_equal(item.mu[0], fewer.mu[4])
    assert item.metadata == [b"{}"]
    models["other"] = replace(models.pop("grey"), name="other")  # loaded under another name
    with pytest.raises(UnknownCollection, match="the loaded models are"):
        await store.collection(NAME)
    assert (await store.collection("training:other")).model == "other"
    assert [one.name for one in await memory.collections()] == ["training:other"]


async def test_its_graph_has_fewer_items(client: httpx.AsyncClient, copy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_path, "MOST_TRAINING_ITEMS", 10)
    for name, items in ((NAME, 10), (copy, 50)):
        found = (await client.post(f"/interpolate?collection={name}&method=graph&steps=3", json=ENDS)).json()
        assert found["graph"] == {"items": items, "count": 50}
