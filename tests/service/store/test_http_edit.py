"""Edits along directions through the application, on every backend: against sums by hand, in all forms and formats."""

import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image

from service.formats import png
from tests.service.rest.test_errors import check
from tests.service.store.test_http import add, item, npy, serving

PATH = "/collections/some/directions"
EDIT = "/edit?collection=some"
Z = [[0.5, -1.0, 0.25], [3.0, 2.0, 1.0]]
PIXELS = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 1), dtype=np.uint8)
PNGS = [png.write(picture) for picture in PIXELS]


@pytest.fixture
async def client(weights: Path, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with a collection that has the directions `smile`, `glasses` and `hat`."""
    async with serving(weights, address) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        for seed, name in enumerate(("smile", "glasses", "hat")):
            mu = np.random.default_rng(seed).standard_normal((2, 4, 3))
            sides = {"positive": {"mu": mu[0].tolist()}, "negative": {"mu": mu[1].tolist()}}
            (await client.put(f"{PATH}/{name}", json=sides)).raise_for_status()
        yield client


async def steps(client: httpx.AsyncClient) -> dict[str, Any]:
    """unit * vector of each direction."""
    found = [(await client.get(f"{PATH}/{name}")).json() for name in ("smile", "glasses", "hat")]
    return {one["name"]: one["unit"] * np.array(one["vector"]) for one in found}


async def edited(client: httpx.AsyncClient, **body: Any) -> Any:
    answer = await client.post(f"{EDIT}&include=z", json=body)
    return answer.raise_for_status().json()


async def test_an_edit_adds_steps_and_the_answer_is_that_of_decode(client: httpx.AsyncClient) -> None:
    step = await steps(client)
    amounts = {"smile": 1.5, "glasses": -2}
    found = await edited(client, z=Z, directions=amounts)
    wanted = np.array(Z) + 1.5 * step["smile"] - 2 * step["glasses"]
    np.testing.assert_allclose(found["z"], wanted, rtol=1e-6)
    decoded = (await client.post("/decode?model=grey", json={"z": found["z"]})).raise_for_status().json()
    assert {name: found[name] for name in ("model", "images", "shape")} == decoded
    assert await edited(client, z=Z, directions=dict(reversed(amounts.items()))) == found
    assert await edited(client, mu=Z, directions=amounts, keep=[]) == found
    assert await edited(client, z=Z, directions={"smile": 0}) != found
    np.testing.assert_array_equal((await edited(client, z=Z, directions={"smile": 0}))["z"], Z)


async def test_projections_on_kept_directions_stay(client: httpx.AsyncClient) -> None:
    step = await steps(client)
    found = await edited(client, z=Z, directions={"smile": 3}, keep=["glasses", "hat"])
    move = np.array(found["z"], np.float64) - Z
    basis = np.linalg.qr(np.stack([step["glasses"], step["hat"]]).T)[0]
    whole = 3 * step["smile"]
    np.testing.assert_allclose(move, [whole - basis @ (basis.T @ whole)] * 2, atol=1e-6)
    for kept in ("glasses", "hat"):
        np.testing.assert_allclose(move @ step[kept], 0, atol=1e-6)
    assert (move @ step["smile"] > 0).all()
    assert await edited(client, z=Z, directions={"smile": 3}, keep=["hat", "glasses"]) == found
    for keep in (["smile"], ["smile", "glasses"], ["smile", "glasses", "hat"]):
        refused = await client.post(EDIT, json={"z": Z, "directions": {"smile": 3}, "keep": keep})
        check(refused, 422, "no_direction", "nothing is left of the edit")
    both = await edited(client, z=Z, directions={"smile": 3, "glasses": 1}, keep=["smile"])
    np.testing.assert_allclose((np.array(both["z"]) - Z) @ step["smile"], 0, atol=1e-6)


async def test_pictures_come_in_every_dress(client: httpx.AsyncClient) -> None:
    """JSON, forms, one picture, npy; and with the parameters in the query, in fields, or in the JSON."""
    mu = (await client.post("/encode?model=grey", json={"images": texts()})).raise_for_status().json()["mu"]
    wanted = await edited(client, mu=mu, directions={"smile": 2, "hat": -1}, keep=["glasses"])
    files = [("image", (f"{i}.png", data)) for i, data in enumerate(PNGS)]
    short = "&directions=smile:2,hat:-1&keep=glasses"
    for answer in (
        await client.post(f"{EDIT}&include=z", json={
            "images": texts(), "directions": {"smile": 2, "hat": -1}, "keep": "glasses"}),
        await client.post(f"{EDIT}&include=z{short}", json={"images": texts()}),
        await client.post(f"{EDIT}&include=z{short}", files=files),
        await client.post("/edit", files=files, data={
            "collection": "some", "directions": '{"smile": 2, "hat": -1}', "keep": "glasses", "include": "z"}),
        await client.post("/edit", files=files, data={
            "collection": "some", "directions": " smile:2.0, hat:-1", "keep": "glasses", "include": "z"}),
        await client.post(f"{EDIT}&include=z{short}", content=npy_bytes(PIXELS)),
        await client.post(f"{EDIT}&include=z{short}", content=npy(mu)),
    ):  # fmt: skip
        found = answer.raise_for_status().json()
        found.pop("warnings", None)
        assert found == wanted
    alone = (await client.post(f"{EDIT}&include=z{short}", content=PNGS[1])).raise_for_status().json()
    assert (alone["z"], alone["images"]) == (wanted["z"][1:], wanted["images"][1:])


async def test_of_a_key_that_json_has_twice_the_last_counts_wherever_it_is(client: httpx.AsyncClient) -> None:
    wanted = await edited(client, z=Z, directions={"smile": 2})
    twice = '{"smile": 1, "smile": 2}'
    in_body = await client.post(f"{EDIT}&include=z", content=f'{{"z": {json.dumps(Z)}, "directions": {twice}}}')
    in_query = await client.post(f"{EDIT}&include=z&directions={quote(twice)}", json={"z": Z})
    assert in_body.raise_for_status().json() == wanted
    assert in_query.raise_for_status().json() == wanted


async def test_stored_items_are_edited_by_their_ids(client: httpx.AsyncClient) -> None:
    await add(client, item(id="a"), {"id": "b", "mu": Z[1]})
    found = await edited(client, points=[{"id": "b"}, {"z": Z[0]}], directions={"smile": 1})
    assert found == await edited(client, z=Z[::-1], directions={"smile": 1})
    check(await client.post(EDIT, json={"points": [{"id": "c"}], "directions": {"smile": 1}}), 404, "unknown_item", "'c'")


async def test_an_item_alone_has_the_bytes_that_it_has_in_company(client: httpx.AsyncClient) -> None:
    z = np.random.default_rng(3).standard_normal((20, 3)).astype(np.float32)
    query = f"{EDIT}&directions=smile:1.3,glasses:0.7&keep=hat&include=z&format=json"
    together = (await client.post(query, content=npy(z))).raise_for_status().json()
    for i in (0, 7, 19):
        alone = (await client.post(query, content=npy(z[i : i + 1]))).raise_for_status().json()
        assert (alone["z"][0], alone["images"][0]) == (together["z"][i], together["images"][i])


async def test_formats_are_those_of_decode(client: httpx.AsyncClient) -> None:
    found = await edited(client, z=Z, directions={"smile": 2})
    for query in (
        "format=npy", "format=npy&dtype=float32", "format=png&layout=row&scale=3", "format=png&layout=column",
        "pixels=sample&seed=5", "format=npy&pixels=sample&seed=5",
    ):  # fmt: skip
        answer = await client.post(f"{EDIT}&{query}", json={"z": Z, "directions": {"smile": 2}})
        decoded = await client.post(f"/decode?model=grey&{query}", json={"z": found["z"]})
        assert answer.raise_for_status().content == decoded.raise_for_status().content
        assert answer.headers["x-model"] == decoded.headers["x-model"]
        assert answer.headers.get("x-seed") == decoded.headers.get("x-seed")
    with Image.open(
        io.BytesIO((await client.post(f"{EDIT}&format=png&directions=smile:1", json={"z": Z[:1]})).content)
    ) as one:
        assert one.size == (8, 8)


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "detail"),
    [
        ("/edit", {"z": Z, "directions": {"smile": 1}}, 422, "invalid_parameter", "collection is missing"),
        (EDIT, {"z": Z}, 422, "invalid_parameter", "directions is missing"),
        (EDIT, {"z": Z, "directions": {}}, 422, "invalid_parameter", "directions is missing"),
        (EDIT, {"directions": {"smile": 1}}, 422, "unusable_input", "images, image, z, mu, points"),
        (EDIT, {"z": [], "directions": {"smile": 1}}, 422, "unusable_input", "list of one or more"),
        (EDIT, {"z": [[1, 2]], "directions": {"smile": 1}}, 422, "unusable_input", "shape"),
        (EDIT, {"z": Z * 20, "directions": {"smile": 1}}, 413, "too_many_items", "at most 32"),
        (EDIT, {"z": [[9999.0] * 3], "directions": {"smile": 99, "hat": 99, "glasses": 99}}, 422, "unusable_input", "beyond"),
        (EDIT, {"z": Z, "directions": {"smiles": 1}}, 404, "unknown_direction", "did you mean smile?"),
        (EDIT, {"z": Z, "directions": {"smile": 1}, "keep": ["x"]}, 404, "unknown_direction", "no direction 'x'"),
        (EDIT, {"z": Z, "directions": {"smile": 101}}, 422, "invalid_parameter", "directions must have numbers from -100 to"),
        (EDIT, {"z": Z, "directions": {"smile": "1"}}, 422, "invalid_parameter", "directions must have numbers"),
        (EDIT, {"z": Z, "directions": {"smile": True}}, 422, "invalid_parameter", "directions must have numbers"),
        (EDIT, {"z": Z, "directions": {"smile": None}}, 422, "invalid_parameter", "directions must have numbers"),
        (EDIT, {"z": Z, "directions": {"a b": 1}}, 422, "invalid_parameter", "must have names of directions"),
        (EDIT, {"z": Z, "directions": ["smile"]}, 422, "invalid_parameter", "directions must be {"),
        (EDIT, {"z": Z, "directions": 7}, 422, "invalid_parameter", "directions must be {"),
        (EDIT, {"z": Z, "directions": None}, 422, "invalid_parameter", "directions must be {"),
        (f"{EDIT}&directions=smile", {"z": Z}, 422, "invalid_parameter", "directions must be {"),
        (f"{EDIT}&directions=smile:nan", {"z": Z}, 422, "invalid_parameter", "directions must have numbers"),
        (f"{EDIT}&directions=smile:1e999", {"z": Z}, 422, "invalid_parameter", "directions must have numbers"),
        (f"{EDIT}&directions=smile:1,smile:2", {"z": Z}, 422, "invalid_parameter", "directions must name each direction once"),
        (f"{EDIT}&directions=smile:1,%20smile:2", {"z": Z}, 422, "invalid_parameter", "must name each direction once"),
        (f"{EDIT}&directions=smile%20:1,smile:2", {"z": Z}, 422, "invalid_parameter", "must name each direction once"),
        *(
            (f"{EDIT}&directions=smile:{amount}", {"z": Z}, 422, "invalid_parameter", "directions must have numbers from")
            for amount in ("1_0", "%D9%A1", "01", "%2B1", ".5", "1.", "0x1", "true", "null", '"1"', "[1]", "1 2", "")
        ),
        (f"{EDIT}&directions=%7B", {"z": Z}, 422, "invalid_parameter", "directions must be {"),
        (f"{EDIT}&directions=:1", {"z": Z}, 422, "invalid_parameter", "must have names"),
        (f"{EDIT}&model=colour", {"z": Z, "directions": {"smile": 1}}, 409, "model_mismatch", "leave out model="),
        ("/edit?collection=none", {"z": Z, "directions": {"smile": 1}}, 404, "unknown_collection", "'none'"),
        ("/edit?collection=a%20b", {"z": Z, "directions": {"smile": 1}}, 404, "unknown_collection", "'a b'"),
        (f"{EDIT}&scale=99", {"z": Z, "directions": {"smile": 1}}, 422, "invalid_parameter", "scale"),
        (f"{EDIT}&amount=1", {"z": Z, "directions": {"smile": 1}}, 422, "invalid_parameter", "unknown parameter 'amount'"),
    ],
)  # fmt: skip
async def test_bad_edits_are_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, code: str, detail: str
) -> None:
    check(await client.post(path, content=json.dumps(body)), status, code, detail)


def texts() -> list[str]:
    return [base64.b64encode(data).decode() for data in PNGS]


def npy_bytes(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array))
    return buffer.getvalue()
