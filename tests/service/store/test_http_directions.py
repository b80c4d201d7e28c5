"""Directions through the application, on every backend: what they are made from, how good they are, and what is refused."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.formats import png
from service.latents import directions as latents
from service.operations import directions as operations
from service.store import directions as bounds
from service.store.postgres import directions as of_postgres
from service.store.sqlite import directions as of_sqlite
from tests.service.rest.test_errors import check
from tests.service.store.test_http import add, item, serving

PATH = "/collections/some/directions"
SMILE = f"{PATH}/smile"
BOTH = {"positive": {"smile": True}, "negative": {"smile": False}}


@pytest.fixture
async def client(weights: Path, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with an empty collection."""
    async with serving(weights, address) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        yield client


def faces(count: int = 12, seed: int = 0) -> list[dict[str, Any]]:
    """Items of which every second one smiles, which dimension 0 says nearly always."""
    mu = np.random.default_rng(seed).standard_normal((count, 3)).astype(np.float32)
    mu[::2, 0] += 2
    return [{"id": f"f{i}", "mu": mu[i].tolist(), "metadata": {"smile": i % 2 == 0}} for i in range(count)]


def split(items: list[dict[str, Any]]) -> tuple[Any, Any]:
    sides = ([one["mu"] for one in items if one["metadata"]["smile"] is smiles] for smiles in (True, False))
    positive, negative = (np.array(side) for side in sides)
    return positive, negative


async def test_a_direction_is_made_kept_replaced_and_deleted(client: httpx.AsyncClient) -> None:
    items = faces()
    for i in range(0, len(items), 6):
        await add(client, *items[i : i + 6])
    made = (await client.put(SMILE, json=BOTH)).raise_for_status().json()
    positive, negative = split(items)
    difference = positive.mean(0) - negative.mean(0)
    np.testing.assert_allclose(made["vector"], difference / np.linalg.norm(difference), rtol=1e-6)
    projections = np.concatenate([positive, negative]) @ made["vector"]
    assert made["unit"] == pytest.approx(projections.std(), rel=1e-6)
    assert (made["name"], made["collection"], made["method"], made["orthogonal_to"]) == (
        "smile",
        "some",
        "mean_difference",
        [],
    )
    assert made["positive"] == {"source": "filter", "filter": {"smile": True}, "found": 6, "n": 6}
    assert made["negative"] == {"source": "filter", "filter": {"smile": False}, "found": 6, "n": 6}
    assert 0.5 < made["auc"] <= 1
    assert made["seq"] == 12
    got = await client.get(SMILE)
    assert got.json() == made
    listed = (await client.get(PATH)).json()["directions"]
    assert listed == [{key: value for key, value in made.items() if key != "vector"}]
    assert (await client.put(SMILE, json=BOTH)).json() == made
    other = (await client.put(SMILE, json={**BOTH, "method": "logistic_regression"})).raise_for_status().json()
    assert other["method"] == "logistic_regression"
    assert other["vector"] != made["vector"]
    assert (await client.put(f"{SMILE}?method=mean_difference", json={**BOTH, "method": "logistic_regression"})).json() == made
    assert (await client.delete(SMILE)).json() == made
    check(await client.delete(SMILE), 404, "unknown_direction", "the collection 'some' has no direction 'smile'")
    check(await client.get(SMILE), 404, "unknown_direction", "GET /collections/some/directions lists all")
    assert (await client.get(PATH)).json() == {"directions": []}


async def test_every_form_of_a_side_gives_the_same_direction(client: httpx.AsyncClient) -> None:
    """Filters, ids and latents have the same vectors; only which are held out together may differ."""
    items = faces()
    await add(client, *items)
    made = (await client.put(SMILE, json=BOTH)).raise_for_status().json()
    sides = [[one for one in items if one["metadata"]["smile"] is smiles] for smiles in (True, False)]
    for form in ("filter", "ids", "mu", "z"):
        positive: dict[str, Any]
        negative: dict[str, Any]
        match form:
            case "filter":
                positive, negative = ({"filter": {"smile": {"eq": smiles}}} for smiles in (True, False))
            case "ids":  # those that are named twice count once
                positive, negative = ({"ids": [one["id"] for one in [*side, side[0]]][::-1]} for side in sides)
            case _:
                positive, negative = ({str(form): [one["mu"] for one in side]} for side in sides)
        found = (await client.put(f"{PATH}/{form}", json={"positive": positive, "negative": negative})).raise_for_status()
        np.testing.assert_allclose(found.json()["vector"], made["vector"], rtol=1e-6)
        assert found.json()["unit"] == pytest.approx(made["unit"])
        assert [found.json()[side]["n"] for side in ("positive", "negative")] == [6, 6]
        if form in ("filter", "ids"):
            assert found.json()["auc"] == made["auc"]
        source = "latents" if form in ("mu", "z") else form
        assert {found.json()[side]["source"] for side in ("positive", "negative")} == {source}


async def test_a_direction_that_hangs_on_one_pair_of_items_has_no_auc(client: httpx.AsyncClient) -> None:
    sides: dict[str, Any] = {"positive": {"mu": [[1, 0, 0], [0, 2, 0]]}, "negative": {"mu": [[1, 0, 0], [0, -2, 0]]}}
    for method in ("mean_difference", "logistic_regression"):
        made = (await client.put(SMILE, json={**sides, "method": method})).raise_for_status().json()
        assert made["auc"] is None
        np.testing.assert_allclose(made["vector"], [0, 1, 0], atol=1e-6)
        assert (await client.get(SMILE)).json() == made


async def test_pictures_stand_for_their_mu(client: httpx.AsyncClient) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (5, 8, 8, 1), dtype=np.uint8)
    texts = [base64.b64encode(png.write(picture)).decode() for picture in pixels]
    mu = (await client.post("/encode?model=grey", json={"images": texts})).raise_for_status().json()["mu"]
    by_pictures = {"positive": {"images": texts[:2]}, "negative": {"images": texts[2:]}}
    by_mu = {"positive": {"mu": mu[:2]}, "negative": {"mu": mu[2:]}}
    made = [(await client.put(SMILE, json=body)).raise_for_status().json() for body in (by_pictures, by_mu)]
    assert made[0]["positive"] == {"source": "images", "found": 2, "n": 2}
    for side in ("positive", "negative"):
        del made[0][side], made[1][side]
    made[0].pop("warnings", None)
    assert made[0] == made[1]
    bad = {"positive": {"images": texts[:2]}, "negative": {"images": [texts[2], "!"]}}
    assert check(await client.put(SMILE, json=bad), 400, "undecodable")["item"] == 3
    mixed = {"positive": {"images": texts[:2]}, "negative": {}}  # an empty filter: every item
    check(await client.put(SMILE, json=mixed), 422, "unusable_input", "negative has 0 items")
    await add(client, *faces(4))
    assert (await client.put(SMILE, json=mixed)).raise_for_status().json()["negative"]["n"] == 4


async def test_a_direction_is_orthogonal_to_others(client: httpx.AsyncClient) -> None:
    await add(client, *faces(20))
    for name, dimension in (("x", 0), ("xy", 1)):
        mu = np.zeros((2, 3))
        mu[:, : dimension + 1] = 1
        body = {"positive": {"mu": mu.tolist()}, "negative": {"mu": (-mu).tolist()}}
        (await client.put(f"{PATH}/{name}", json=body)).raise_for_status()
    for method in ("mean_difference", "logistic_regression"):
        made = (await client.put(f"{SMILE}?orthogonal_to=x,xy&method={method}", json=BOTH)).raise_for_status().json()
        assert made["orthogonal_to"] == ["x", "xy"]
        np.testing.assert_allclose(np.abs(made["vector"]), [0, 0, 1], atol=1e-6)
    same = (await client.put(SMILE, json={**BOTH, "orthogonal_to": ["xy", "x"], "method": method})).json()
    assert same == made
    check(await client.put(SMILE, json={**BOTH, "orthogonal_to": ["y"]}), 404, "unknown_direction", "no direction 'y'")
    own = await client.put(SMILE, json={**BOTH, "orthogonal_to": ["smile"]})
    check(own, 422, "unusable_input", "orthogonal_to names 'smile' itself")
    (await client.put(f"{PATH}/z", json={"positive": {"mu": [[0, 0, 1]] * 2}, "negative": {"mu": [[0, 0, 0]] * 2}})).json()
    nothing = await client.put(SMILE, json={**BOTH, "orthogonal_to": ["x", "xy", "z"]})
    check(nothing, 422, "no_direction", "nothing is left of the direction")


ONE = {"mu": [[0, 0, 0], [1, 1, 1]]}


@pytest.mark.parametrize(
    ("sides", "status", "code", "detail"),
    [
        ({}, 422, "unusable_input", "'positive' is missing: it must be {\"label\": 7}"),
        ({"positive": ONE}, 422, "unusable_input", "'negative' is missing"),
        ({"positive": ["f0"], "negative": ONE}, 422, "unusable_input", "'positive' must be"),
        ({"positive": ONE, "negative": "f0"}, 422, "unusable_input", "not a string"),
        ({"positive": {"ids": []}, "negative": ONE}, 422, "unusable_input", "'ids' of 'positive' is empty"),
        ({"positive": {"ids": [1]}, "negative": ONE}, 422, "unusable_input", "an id must be a string"),
        ({"positive": {"ids": ["f0", "none"]}, "negative": ONE}, 404, "unknown_item", "has no item 'none'"),
        ({"positive": {"ids": ["f0"], "smile": True}, "negative": ONE}, 422, "unusable_input", "'ids' and 'smile'"),
        ({"positive": {"filter": {"smile": True}, "x": 1}, "negative": ONE}, 422, "unusable_input", "one filter"),
        ({"positive": {"ids": ["f0"]}, "negative": ONE}, 422, "unusable_input", "positive has 1 item; at least 2 are needed"),
        ({"positive": {"ids": ["f0", "f0"]}, "negative": ONE}, 422, "unusable_input", "positive has 1 item;"),
        ({"positive": ONE, "negative": {"smile": 7}}, 422, "unusable_input", "negative has 0 items; at least 2"),
        ({"positive": ONE, "negative": {"smlie": True}}, 409, "unknown_key", "did you mean 'smile'?"),
        ({"positive": ONE, "negative": {"filter": {"eq": 1}}}, 409, "unknown_key", "has 'eq' in its metadata"),
        ({"positive": ONE, "negative": {"smile": [True]}}, 422, "invalid_filter", "a value must be"),
        ({"positive": ONE, "negative": {"smile": {"in": ["x" * 99] * 200}}}, 413, "metadata_too_large", "16384"),
        ({"positive": {"smile": True}, "negative": {"smlie": {"ne": True}}}, 409, "unknown_key", "did you mean 'smile'?"),
        ({"positive": {"smile": True}, "negative": {}}, 422, "unusable_input", "'f0' is on both sides"),
        ({"positive": {"ids": ["f1", "f0"]}, "negative": {"smile": True}}, 422, "unusable_input", "'f0' is on both sides"),
        ({"positive": {"smile": True}, "negative": {"ids": ["f1", "f2"]}}, 422, "unusable_input", "'f2' is on both sides"),
        ({"positive": {"ids": ["f1", "f0"]}, "negative": {"ids": ["f0", "f2"]}}, 422, "unusable_input", "'f0' is on both"),
        ({"positive": ONE, "negative": ONE}, 422, "no_direction", "both sides have the same mean"),
        ({"positive": {"mu": [[0, 0]] * 2}, "negative": ONE}, 422, "unusable_input", "mu of positive has the shape (2, 2)"),
        ({"positive": {"mu": [[0, 0, 1e9]] * 2}, "negative": ONE}, 422, "unusable_input", "finite"),
        ({"positive": {"mu": [[0, None, 0]] * 2}, "negative": ONE}, 422, "unusable_input", "nulls"),
        ({"positive": {"images": [7, 7]}, "negative": ONE}, 422, "unusable_input", "the image must be a string"),
        ({"positive": {"images": ["AAAA"] * 20}, "negative": {"images": ["AAAA"] * 20}}, 413, "too_many_items", "40"),
        ({"positive": {"ids": ["a"] * 10_001}, "negative": ONE}, 413, "too_many_items", "at most 10000"),
        ({"positive": ONE, "negative": BOTH["negative"], "methd": 1}, 422, "invalid_parameter", "did you mean method?"),
        ({"positive": ONE, "negative": BOTH["negative"], "method": "svm"}, 422, "invalid_parameter", "mean_difference"),
        ({"positive": ONE, "negative": BOTH["negative"], "model": "colour"}, 409, "model_mismatch", "cannot be compared"),
    ],
)
async def test_bad_sides_are_refused(
    client: httpx.AsyncClient, sides: dict[str, Any], status: int, code: str, detail: str
) -> None:
    await add(client, *faces(8))
    check(await client.put(SMILE, json=sides), status, code, detail)
    assert (await client.get(PATH)).json() == {"directions": []}


async def test_a_direction_is_not_kept_with_a_new_collection_of_the_same_name(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(client, *faces(8))
    fit = latents.fit

    async def replaced() -> None:
        (await client.delete("/collections/some")).raise_for_status()
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()

    loop = asyncio.get_running_loop()

    def slow(*given: Any) -> Any:
        asyncio.run_coroutine_threadsafe(replaced(), loop).result(30)
        return fit(*given)

    for sides in (BOTH, {"positive": {"mu": [[1, 0, 0]] * 2}, "negative": {"mu": [[0, 0, 0]] * 2}}):
        monkeypatch.setattr(latents, "fit", slow)
        check(await client.put(SMILE, json=sides), 404, "unknown_collection", "'some' was deleted while this request")
        monkeypatch.undo()
        assert (await client.get(PATH)).json() == {"directions": []}
        await add(client, *faces(8))
    (await client.put(SMILE, json=BOTH)).raise_for_status()


async def test_other_bodies_names_and_collections_are_refused(client: httpx.AsyncClient) -> None:
    await add(client, *faces(8))
    check(await client.put(SMILE), 422, "unusable_input", "'positive' is missing")
    check(await client.put(SMILE, content=png.write(np.zeros((8, 8, 1), np.uint8))), 415, "unsupported_media_type", "JSON")
    check(await client.put(f"{PATH}/a%20b", json=BOTH), 422, "unusable_input", "not a valid name for a direction")
    check(await client.get(f"{PATH}/a%20b"), 404, "unknown_direction")
    check(await client.put("/collections/none/directions/x", json=BOTH), 404, "unknown_collection")
    check(await client.get("/collections/none/directions"), 404, "unknown_collection")
    check(await client.get(f"{PATH}?limit=1"), 422, "invalid_parameter", "limit")
    (await client.put(SMILE, json=BOTH)).raise_for_status()
    for method, path in (("GET", PATH), ("GET", SMILE), ("DELETE", SMILE)):
        check(await client.request(method, f"{path}?model=colour"), 409, "model_mismatch")
    assert (await client.get(f"{SMILE}?model=grey")).status_code == 200
    check(await client.put(f"{SMILE}?timeout_ms=1", json=BOTH | {"method": "logistic_regression"}), 504, "deadline_exceeded")


async def test_a_large_side_is_a_sample_that_depends_on_ids_alone(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = faces(30)
    await add(client, *items)
    monkeypatch.setattr(operations, "MOST", 5)
    made = (await client.put(SMILE, json=BOTH)).raise_for_status().json()
    assert made["positive"] == {"source": "filter", "filter": {"smile": True}, "found": 15, "n": 5}
    order = sorted(items, key=lambda one: hashlib.blake2b(one["id"].encode(), digest_size=8).digest())
    chosen = [[one for one in order if one["metadata"]["smile"] is smiles][:5] for smiles in (True, False)]
    positive, negative = split([*chosen[0], *chosen[1]])
    difference = positive.mean(0) - negative.mean(0)
    np.testing.assert_allclose(made["vector"], difference / np.linalg.norm(difference), rtol=1e-5)
    right = [
        float(high > low) + (high == low) / 2
        for fold in range(5)  # one item of each side
        for v in [np.delete(positive, fold, 0).mean(0) - np.delete(negative, fold, 0).mean(0)]
        for high, low in [(positive[fold] @ v, negative[fold] @ v)]
    ]
    assert made["auc"] == pytest.approx(np.mean(right))


async def test_the_numbers_of_directions_are_bounded(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bounds, of_sqlite, of_postgres):
        monkeypatch.setattr(module, "MAX_DIRECTIONS", 1)
    await add(client, *faces(8))
    (await client.put(SMILE, json=BOTH)).raise_for_status()
    check(await client.put(f"{PATH}/other", json=BOTH), 409, "directions_full", "has 1 directions already")


async def test_many_at_once_get_the_same_or_are_told_to_come_back(client: httpx.AsyncClient) -> None:
    await add(client, *faces(20))
    made = (await client.put(SMILE, json=BOTH)).raise_for_status().json()
    answers = await asyncio.gather(*(client.put(SMILE, json=BOTH) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 429}
    good = [answer.json() for answer in answers if answer.status_code == 200]
    assert good
    assert all(one == made for one in good)
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 429)


async def test_directions_go_with_their_collection_and_are_not_items(client: httpx.AsyncClient) -> None:
    await add(client, *faces(8), item(id="directions/smile"))
    (await client.put(SMILE, json=BOTH)).raise_for_status()
    assert (await client.get("/collections/some")).json()["count"] == 9
    assert (await client.get("/collections/some/items/directions/smile")).json()["mu"] == [0.5] * 3
    (await client.delete("/collections/some")).raise_for_status()
    (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
    assert (await client.get(PATH)).json() == {"directions": []}
