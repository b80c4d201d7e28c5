"""/models/{name}/examples: the pictures that came with a model, in every format, and what there is without any."""

import base64
import io
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from PIL import Image

from models.checkpoint import read
from models.golden import write_golden
from service.inference.catalog import Catalog

X = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), np.uint8)


@pytest.fixture
async def catalog(app: FastAPI, weights: Path, tmp_path: Path) -> Catalog:
    """The catalog with a "grey" that has three pictures."""
    shelf = tmp_path / "shelf"
    shutil.copytree(weights, shelf)
    write_golden(shelf / "grey", read(shelf / "grey"), torch.from_numpy(X))
    catalog: Catalog = app.state.service.pipeline.catalog
    catalog.directory = shelf
    await catalog.replace("grey")
    return catalog


async def test_every_format_has_the_pictures(client: httpx.AsyncClient, catalog: Catalog) -> None:
    found = (await client.get("/models/grey/examples")).raise_for_status().json()
    assert (found["model"], found["shape"]) == ("grey", [8, 8, 1])
    pictures = [np.array(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found["images"]]
    np.testing.assert_array_equal(pictures, X[:, 0])
    for dtype, wanted in (("uint8", X[..., None]), ("float32", X[..., None] / np.float32(255))):
        answer = await client.get(f"/models/grey/examples?format=npy&dtype={dtype}")
        np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), wanted[:, 0])
    row = await client.get("/models/grey/examples?format=png&layout=row&scale=2")
    with Image.open(io.BytesIO(row.content)) as joined:
        assert joined.size == (2 * (3 * 8 + 2 * 2), 16)
    encoded = await client.post("/encode", json={"images": found["images"]})
    posterior = await client.post("/encode", content=(await client.get("/models/grey/examples?format=npy")).content)
    assert encoded.raise_for_status().content == posterior.raise_for_status().content


async def test_a_copy_stays_valid_until_the_pictures_change(client: httpx.AsyncClient, catalog: Catalog) -> None:
    first = await client.get("/models/grey/examples")
    headers = {"if-none-match": first.headers["etag"]}
    assert first.headers["x-model"] == catalog.get("grey").label
    assert (await client.get("/models/grey/examples", headers=headers)).status_code == 304
    assert (await client.get("/models/grey/examples?format=npy", headers=headers)).status_code == 200
    write_golden(catalog.directory / "grey", read(catalog.directory / "grey"), torch.from_numpy(X[:2]))
    await catalog.replace("grey")
    assert len((await client.get("/models/grey/examples", headers=headers)).json()["images"]) == 2


async def test_a_model_without_pictures_has_an_empty_list(client: httpx.AsyncClient) -> None:
    found = await client.get("/models/colour/examples", headers={"accept": "text/html"})
    assert found.json() == {"model": "colour", "images": [], "shape": [12, 16, 3]}
    assert np.load(io.BytesIO((await client.get("/models/colour/examples?format=npy")).content)).shape == (0, 12, 16, 3)
    for path, status, code in (
        ("/models/colour/examples?format=png", 422, "invalid_parameter"),
        ("/models/grey/examples?model=colour", 422, "invalid_parameter"),
        ("/models/grau/examples", 404, "unknown_model"),
    ):
        refused = await client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
