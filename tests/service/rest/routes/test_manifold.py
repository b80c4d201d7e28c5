"""/manifold over HTTP: the plane, its formats, its ETag and its errors."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from PIL import Image

import models
from models import VAE, VAEConfig
from models.evaluate import pictures
from service.app import create_app
from service.formats.npy import npy_array
from service.settings import Settings


@pytest.fixture
async def flat(tmp_path: Path) -> AsyncIterator[tuple[AsyncClient, VAE]]:
    """A service with one model of two dimensions, and that model."""
    torch.manual_seed(0)
    vae = VAE(VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [16]}))
    models.save(tmp_path / "weights" / "flat", vae)
    app = create_app(Settings(models_dir=tmp_path / "weights", device="cpu", threads=1, store=str(tmp_path / "latents.db")))
    async with app.router.lifespan_context(app), AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        await app.state.started.wait()
        yield client, vae.eval()


async def test_it_is_the_picture_of_the_model_card(flat: tuple[AsyncClient, VAE]) -> None:
    client, vae = flat
    answer = await client.get("/manifold")
    assert answer.headers["content-type"] == "image/png"
    with torch.no_grad():
        card = np.asarray(pictures.manifold(vae)).astype(int)
    assert np.abs(np.asarray(Image.open(io.BytesIO(answer.content))).astype(int) - card).max() <= 1
    assert (await client.get("/manifold", headers={"accept": ""})).headers["content-type"] == "image/png"


async def test_each_format_has_the_same_plane(client: AsyncClient) -> None:
    query = "/manifold?dims=2,0&n=3&span=1"
    found = (await client.get(f"{query}&format=json&include=z")).raise_for_status().json()
    z = np.array(found["z"], np.float32).reshape(3, 3, 3)
    values = np.array(found["values"], np.float32)
    assert found["dims"] == [2, 0]
    assert (z[..., 1] == 0).all()
    np.testing.assert_array_equal(z[..., 2], np.tile(values, (3, 1)))  # to the right
    np.testing.assert_array_equal(z[..., 0], np.tile(values[::-1, None], (1, 3)))  # upwards
    np.testing.assert_allclose(values, [-1, 0, 1], atol=1e-6)
    assert found["images"] == (await client.post("/decode", json={"z": found["z"]})).json()["images"]
    array = npy_array((await client.get(f"{query}&format=npy")).content)
    assert array.shape == (9, 8, 8, 1)
    mosaic = np.asarray(Image.open(io.BytesIO((await client.get(query)).content)))
    np.testing.assert_array_equal(mosaic[20:28, 10:18], array[7, ..., 0])
    assert (await client.get(query, headers={"accept": "application/json"})).headers["content-type"] == "application/json"
    browser = await client.get(query, headers={"accept": "text/html,image/avif,*/*;q=0.8"})
    assert Image.open(io.BytesIO(browser.content)).size == (28 * 18, 28 * 18)


async def test_it_goes_through_an_item(client: AsyncClient) -> None:
    (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
    (await client.post("/collections/some/items", json={"items": [{"id": "a", "mu": [1, 2, 3]}]})).raise_for_status()
    query = "/manifold?dims=0,2&n=2&format=json&include=z&collection=some&item=a"
    answer = await client.get(query)
    assert {z[1] for z in answer.json()["z"]} == {2}
    unknown = await client.get(query.replace("item=a", "item=b"))
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "the collection 'some' has no item 'b'")
    tag = answer.headers["etag"]
    assert (await client.get(query, headers={"if-none-match": tag})).status_code == 304
    (await client.post("/collections/some/items", json={"items": [{"id": "a", "mu": [1, 5, 3]}]})).raise_for_status()
    changed = await client.get(query, headers={"if-none-match": tag})
    assert (changed.status_code, {z[1] for z in changed.json()["z"]}) == (200, {5})


async def test_it_can_be_cached(client: AsyncClient, app: FastAPI) -> None:
    answer = await client.get("/manifold?dims=0,1&n=3")
    tag = answer.headers["etag"]
    assert answer.headers["cache-control"] == "no-cache"
    unchanged = await client.get("/manifold?dims=0,1&n=3", headers={"if-none-match": tag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    for query in ("dims=1,0&n=3", "dims=0,1&n=4", "dims=0,1&n=3&span=2", "dims=0,1&n=3&format=npy", "dims=0,1&n=3&scale=2"):
        assert (await client.get(f"/manifold?{query}", headers={"if-none-match": tag})).status_code == 200


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("n=2&dims=0", 422, "dims must be two different dimensions from 0 to 2, such as 0,1, not '0'"),
        ("n=2&dims=1,1", 422, "dims must be two different dimensions"),
        ("n=2&dims=0,1,2", 422, "dims must be two different dimensions"),
        ("n=2&dims=a,b", 422, "dims must be two different dimensions"),
        ("n=2&dims=0,3", 422, "dims must be two different dimensions from 0 to 2, such as 0,1, not '0,3'"),
        (
            "dims=0,1&n=6",
            422,
            "n is 6, but can be at most 5: the plane has n x n pictures",
        ),
        ("dims=0,1&n=1", 422, "n"),
        ("dims=0,1&n=" + "9" * 4000, 422, "n is 999"),
        ("dims=0,1&span=-1", 422, "span"),
        ("n=2&dims=0,1&item=a", 422, "collection is missing: collection and item together name"),
        ("n=2&dims=0,1&collection=a", 422, "item is missing: collection and item together name"),
        ("n=2&dims=0,1&collection=none&item=a", 404, "none"),
        ("n=2&dims=0,1&model=none", 404, "no model 'none' is loaded"),
        ("dims=0,1&format=webp", 422, "format must be"),
        ("dims=0,1&scale=1000", 422, "scale"),
    ],
)
async def test_what_is_wrong_is_said(client: AsyncClient, query: str, status: int, message: str) -> None:
    answer = await client.get(f"/manifold?{query}")
    assert answer.status_code == status, answer.text
    assert message in answer.json()["detail"]


async def test_it_takes_no_body(client: AsyncClient) -> None:
    answer = await client.request("GET", "/manifold?dims=0,1&n=2", content=b"{}")
    assert answer.status_code == 415
