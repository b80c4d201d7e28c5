"""/traverse over HTTP: its rows, formats and errors."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm

from service.formats import png
from service.formats.npy import npy, npy_array
from service.latents.traversal import DEFAULT_SPAN

PICTURES = [png.write(np.random.default_rng(i).integers(0, 256, (8, 8, 1), np.uint8)) for i in range(2)]
TEXTS = [base64.b64encode(picture).decode() for picture in PICTURES]
Z = [0.5, -1.0, 2.0]
SPAN = np.float32(DEFAULT_SPAN)


async def traverse(client: AsyncClient, query: str, **body: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await client.post(f"/traverse?include=z&{query}", **body)).raise_for_status().json()
    return found


async def test_a_row_moves_one_dimension_over_the_prior(client: AsyncClient) -> None:
    found = await traverse(client, "dims=2,0&steps=5", json={"z": [Z]})
    z = np.array(found["z"], np.float32).reshape(2, 5, 3)
    assert [(row["item"], row["dim"]) for row in found["rows"]] == [(0, 2), (0, 0)]
    for row, moved, dim in zip(found["rows"], z, (2, 0), strict=True):
        np.testing.assert_array_equal(moved[:, dim], np.array(row["values"], np.float32))
        np.testing.assert_allclose(norm.cdf(row["values"]), np.linspace(0.01, 0.99, 5), atol=1e-6)
        np.testing.assert_array_equal(np.delete(moved, dim, 1), np.tile(np.delete(np.array(Z, np.float32), dim), (5, 1)))
    decoded = (await client.post("/decode", json={"z": found["z"]})).json()
    assert found["images"] == decoded["images"]
    assert (found["over"], found["steps"], found["shape"]) == ("prior", 5, [8, 8, 1])


async def test_without_points_it_starts_at_the_mean_of_the_prior(client: AsyncClient) -> None:
    bodies: list[dict[str, Any]] = [{}, {"json": {}}, {"json": {"steps": 3}}]
    for body in bodies:
        found = await traverse(client, "steps=3", **body)
        assert [row["dim"] for row in found["rows"]] == [0, 1, 2]  # all of them: the model's KL is not known
        np.testing.assert_array_equal(
            np.array(found["z"], np.float32).reshape(3, 3, 3), np.eye(3, dtype=np.float32)[:, None] * [[[-SPAN], [0], [SPAN]]]
        )


async def test_the_top_dimensions_are_those_with_the_largest_kl(client: AsyncClient, app: FastAPI) -> None:
    app.state.service.pipeline.catalog.metrics["grey"] = {"kl_per_dim": [0.5, 2.25, 1]}
    for query, expected in (("&dims=top:2", [1, 2]), ("", [1, 2, 0]), ("&dims=top", [1, 2, 0]), ("&dims=top:99", [1, 2, 0])):
        found = await traverse(client, f"steps=2{query}", content=PICTURES[0])
        assert [row["dim"] for row in found["rows"]] == expected
        assert [row["kl"] for row in found["rows"][:2]] == [2.25, 1]
    for bad in ([0.5, 1], ["a", "b", "c"], None, {"a": 1}):
        app.state.service.pipeline.catalog.metrics["grey"] = {"kl_per_dim": bad}
        assert [row["dim"] for row in (await traverse(client, "steps=2", content=PICTURES[0]))["rows"]] == [0, 1, 2]
        answer = await client.post("/traverse?dims=top:2", content=PICTURES[0])
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
        assert "grey has none in its metrics.json: list the dimensions" in answer.json()["detail"]


async def test_values_around_a_point_are_in_units_of_the_prior_or_of_the_posterior(client: AsyncClient) -> None:
    encoded = (await client.post("/encode", content=PICTURES[0])).json()
    mu, sigma = (np.array(encoded[name][0]) for name in ("mu", "sigma"))
    for over, unit in (("point", np.ones(3)), ("posterior", sigma)):
        found = await traverse(client, f"over={over}&span=2&steps=5&dims=1,2", content=PICTURES[0])
        for row in found["rows"]:
            j = row["dim"]
            np.testing.assert_allclose(row["values"], mu[j] + unit[j] * np.array([-2, -1, 0, 1, 2]), rtol=1e-5, atol=1e-6)


async def test_local_directions_change_the_picture_most(client: AsyncClient) -> None:
    """No direction changes the picture more than the first one, by the pictures that the service itself decodes."""
    found = await traverse(client, "dims=local&over=point&steps=3&span=0.05", json={"z": [Z]})
    directions = np.array([row["direction"] for row in found["rows"]])
    changes = [row["change"] for row in found["rows"]]
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-5)
    assert changes == sorted(changes, reverse=True)

    async def change(direction: NDArray[np.float64]) -> float:
        z = np.array(Z) + np.array([[-0.05], [0.05]]) * direction / np.linalg.norm(direction)
        pixels = npy_array((await client.post("/decode?format=npy&dtype=float32", json={"z": z.tolist()})).content)
        return float(np.linalg.norm(pixels[1].astype(np.float64) - pixels[0]) / 0.1)

    for direction, expected in zip(directions, changes, strict=True):
        assert await change(direction) == pytest.approx(expected, rel=0.01)
    for direction in np.random.default_rng(0).normal(size=(10, 3)):
        assert changes[-1] * 0.99 < await change(direction) < changes[0] * 1.01


async def test_an_item_has_the_same_rows_alone_and_in_company(client: AsyncClient) -> None:
    points = [{"image": TEXTS[0]}, {"z": Z}, {"image": TEXTS[1]}]
    for query in ("dims=local:2", "dims=0,2&over=point", "dims=2,1", ""):
        together = await traverse(client, f"steps=3&{query}", json={"points": points})
        size = len(together["images"]) // 3
        for i, point in enumerate(points):
            alone = await traverse(client, f"steps=3&{query}", json={"points": [point]})
            part = slice(i * size, (i + 1) * size)
            assert alone["images"] == together["images"][part]
            assert alone["z"] == together["z"][part]
            rows = [row | {"item": 0} for row in together["rows"] if row["item"] == i]
            assert alone["rows"] == rows


async def test_pictures_come_in_every_way(client: AsyncClient) -> None:
    expected = (await client.post("/traverse?steps=3&format=npy", json={"images": TEXTS})).raise_for_status().content
    form = [("image", ("a.png", picture)) for picture in PICTURES]
    arrays = np.stack([np.asarray(Image.open(io.BytesIO(picture))) for picture in PICTURES])
    mu = (await client.post("/encode", json={"images": TEXTS})).json()["mu"]
    bodies: list[dict[str, Any]] = [
        {"files": form}, {"content": npy(arrays)}, {"content": npy(np.array(mu, np.float32))}, {"json": {"mu": mu}},
        {"json": {"points": [{"image": text} for text in TEXTS]}},
    ]  # fmt: skip
    for body in bodies:
        assert (await client.post("/traverse?steps=3&format=npy", **body)).content == expected


async def test_each_format_has_the_same_pictures(client: AsyncClient) -> None:
    query = "/traverse?steps=4&dims=0,1"
    body: dict[str, Any] = {"json": {"images": TEXTS}}
    array = npy_array((await client.post(f"{query}&format=npy", **body)).content)
    assert array.shape == (16, 8, 8, 1)
    assert array.dtype == np.uint8
    rows = array.reshape(4, 4, 8, 8)
    mosaic = np.asarray(Image.open(io.BytesIO((await client.post(f"{query}&format=png", **body)).content)))
    assert mosaic.shape == (38, 38)
    for i in range(4):
        for j in range(4):
            np.testing.assert_array_equal(mosaic[10 * i : 10 * i + 8, 10 * j : 10 * j + 8], rows[i, j])
    webp = Image.open(io.BytesIO((await client.post(f"{query}&format=webp&scale=2", **body)).content))
    assert (webp.size, webp.n_frames) == ((36, 36), 6)  # type: ignore[attr-defined]  # there and back, without the ends
    for frame, step in enumerate((0, 1, 2, 3, 2, 1)):
        webp.seek(frame)
        shown = np.asarray(webp.convert("L"))[::2, ::2]
        np.testing.assert_array_equal(shown[:8, 10:], rows[1, step])
        np.testing.assert_array_equal(shown[10:, :8], rows[2, step])
    browser = await client.post(query, headers={"accept": "text/html,image/avif,*/*;q=0.8"}, **body)
    assert browser.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("query", "body", "status", "message"),
    [
        ("dims=3", {}, 422, "dims has 3, but the dimensions of grey are 0 to 2"),
        ("dims=1,0,1", {}, 422, "dims has 1 twice; list each dimension once"),
        ("dims=", {}, 422, "dims must be top:N, local:N, or dimensions such as 0,3,5"),
        ("dims=top:0", {}, 422, "dims must be top:N"),
        ("dims=best:3", {}, 422, "dims must be top:N"),
        ("dims=-1", {}, 422, "dims must be top:N"),
        ("dims=01", {}, 422, "dims must be top:N"),
        ("", {"dims": [0, "1"]}, 422, "dims must be top:N"),
        ("", {"dims": [True]}, 422, "dims must be top:N"),
        ("", {"dims": []}, 422, "dims must be top:N"),
        ("steps=1", {}, 422, "steps"),
        ("steps=11&dims=0,1,2", {}, 413, "1 point x 3 rows x 11 steps = 33 items, at most 32 are allowed in one request"),
        ("steps=2&dims=local:1", {"z": [Z] * 6}, 413, "decodes two latents for each dimension of each point, here 36"),
        ("steps=999999999", {}, 413, "items, at most 32"),
        ("steps=" + "9" * 4000, {}, 422, "steps must be at most"),
        ("span=0", {}, 422, "span"),
        ("span=nan", {}, 422, "span"),
        ("span=8.5", {}, 422, "span"),
        ("over=nothing", {}, 422, "over must be"),
        ("steps=2&over=posterior", {}, 422, "this point has no sigma, which over=posterior needs"),
        ("over=posterior&steps=2", {"points": [{"mu": Z, "sigma": [1, 1, 1]}, {"z": Z}]}, 422, "point 1: this point"),
        ("over=point&steps=3", {"z": [[9999, 0, 0]]}, 422, "its row leaves the range of latents"),
        ("", {"z": [Z], "images": TEXTS}, 422, "the JSON body needs one of"),
        ("", {"z": [[1]]}, 422, "but the model grey takes"),
        ("", {"points": [{"id": "a"}]}, 422, "collection is missing"),
        ("steps=2", {"images": ["QUJD"]}, 415, "'QUJD' is valid base64"),
        ("layout=row", {}, 422, "unknown parameter 'layout'"),
        ("format=png&scale=33", {}, 422, "scale"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(client: AsyncClient, query: str, body: Any, status: int, message: str) -> None:
    answer = await client.post(f"/traverse?{query}", json=body)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["detail"]


async def test_dims_may_be_a_list_in_json(client: AsyncClient) -> None:
    for dims in ([2, 0], "2,0", "2, 0"):
        found = await traverse(client, "steps=2", json={"dims": dims})
        assert [row["dim"] for row in found["rows"]] == [2, 0]
    assert [row["dim"] for row in (await traverse(client, "steps=2", json={"dims": 1}))["rows"]] == [1]
