"""/interpolate over HTTP with several points: paths through them, and squares between four."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from httpx import AsyncClient
from PIL import Image

from service.formats import png
from service.formats.npy import npy_array
from service.latents.interpolation import grid_between, path_through

PICTURE = png.write(np.random.default_rng(0).integers(0, 256, (8, 8, 1), np.uint8))
TEXT = base64.b64encode(PICTURE).decode()
Z = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
LATENTS = [{"z": row} for row in Z.tolist()]


@pytest.mark.parametrize("method", ["linear", "slerp", "matched"])
async def test_a_path_goes_through_its_points(client: AsyncClient, method: str) -> None:
    mu = np.array((await client.post("/encode", content=PICTURE)).json()["mu"], np.float32)
    points = [LATENTS[0], {"image": TEXT}, *LATENTS[1:]]
    answer = await client.post(f"/interpolate?include=z&steps=10&method={method}", json={"points": points})
    found = answer.raise_for_status().json()
    expected = path_through(np.concatenate([Z[:1], mu, Z[1:]]), 10, method)
    np.testing.assert_array_equal(np.array(found["z"], np.float32), expected)
    assert found["images"] == (await client.post("/decode", json={"z": found["z"]})).json()["images"]


async def test_two_points_are_start_and_end(client: AsyncClient) -> None:
    for form in ("json", "npy", "png", "webp"):
        query = f"/interpolate?include=z&steps=5&format={form}"
        ends = await client.post(query, json={"start": LATENTS[0], "end": {"image": TEXT}})
        points = await client.post(query, json={"points": [LATENTS[0], {"image": TEXT}]})
        assert points.raise_for_status().content == ends.content


async def test_four_corners_are_a_square(client: AsyncClient) -> None:
    query, body = "/interpolate?include=z&steps=3", {"corners": LATENTS}
    found = (await client.post(query, json=body)).raise_for_status().json()
    np.testing.assert_array_equal(np.array(found["z"], np.float32), grid_between(Z, 3, "linear"))
    array = npy_array((await client.post(f"{query}&format=npy", json=body)).content).reshape(3, 3, 8, 8)
    square = np.asarray(Image.open(io.BytesIO((await client.post(f"{query}&format=png", json=body)).content)))
    assert square.shape == (28, 28)
    np.testing.assert_array_equal(square[20:, 10:18], array[2, 1])
    row = Image.open(io.BytesIO((await client.post(f"{query}&format=png&layout=row", json=body)).content))
    assert row.size == (88, 8)  # a stated layout is kept


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"points": LATENTS[:1]}, 422, "'points' has 1 point, but a path needs at least 2"),
        ({"points": LATENTS, "steps": 3}, 422, "steps is 3, but the path has 4 points, each of which is a frame"),
        ({"points": LATENTS, "corners": LATENTS, "steps": 2}, 422, "the JSON body has 'points' and 'corners'"),
        ({"points": LATENTS, "start": LATENTS[0]}, 422, "the JSON body has 'points' and 'start'"),
        ({"points": LATENTS[:2], "steps": 33}, 422, "steps is 33; at most 32"),
        ({"corners": LATENTS[:3], "steps": 2}, 422, "'corners' has 3 points, but must have 4: upper left, upper right"),
        ({"corners": LATENTS, "steps": 6}, 422, "steps is 6, but with corners it can be at most 5"),
        ({"corners": LATENTS, "steps": 10**15}, 422, "it can be at most 5"),
        ({"points": [*LATENTS, {"z": [1]}]}, 422, "point 4: z must be a list of 3 numbers, not a list of 1"),
        ({"points": [*LATENTS, {"image": "QUJD"}]}, 415, "point 4: 'QUJD' is valid base64"),
        ({"points": [*LATENTS, {"id": "a"}]}, 422, "collection is missing"),
        ({"point": LATENTS}, 422, "did you mean points?"),
        ({}, 422, "the JSON body needs start and end, or points, or corners"),
        ({"points": LATENTS, "method": "graph"}, 422, "method=graph needs the collection whose items the path goes through"),
        ({"points": LATENTS, "include": "log_density"}, 422, "whose density is meant: add collection=NAME"),
        ({"points": LATENTS, "density_weight": 0.5}, 422, "density_weight is for method=graph, but the method is linear"),
        ({"points": LATENTS, "bandwidth": 0}, 422, "bandwidth is that of the density of a collection"),
        ({"points": LATENTS, "bandwidth": "abc"}, 422, "bandwidth must be auto, or a number from 0 to 1000000, not 'abc'"),
    ],
)
async def test_what_is_wrong_is_said(client: AsyncClient, body: Any, status: int, message: str) -> None:
    answer = await client.post("/interpolate", json=body)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["detail"]


async def test_items_without_a_density_need_a_bandwidth_and_not_a_filter(client: AsyncClient) -> None:
    (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
    items = [{"id": f"{i}", "mu": [i, 0, 1]} for i in range(3)]
    (await client.post("/collections/some/items", json={"items": items})).raise_for_status()
    body = {"points": LATENTS[:2], "collection": "some", "bandwidth": 0, "include": "log_density"}
    for method in ({}, {"method": "graph"}):
        answer = await client.post("/interpolate", json=body | method)
        assert (answer.status_code, answer.json()["code"]) == (422, "no_density")
        assert answer.json()["detail"].endswith("no density; state bandwidth=auto or a larger bandwidth")
    missing = await client.post("/interpolate", json={"points": [LATENTS[0], {"id": "six"}], "collection": "some"})
    assert missing.json()["detail"] == "point 1: the collection 'some' has no item 'six'"
