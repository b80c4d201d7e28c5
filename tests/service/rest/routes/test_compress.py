"""/compress and /decompress over HTTP: pictures, latents, refusals."""

import io

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.formats.compressed_latents import from_bytes
from service.formats.npy import npy
from service.latents.quantization import dequantize

PICTURES = npy(np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8))
TYPE = {"content-type": "application/x-vae-latents"}


async def compressed(client: httpx.AsyncClient, query: str = "") -> bytes:
    answer = (await client.post(f"/compress{query}", content=PICTURES)).raise_for_status()
    assert answer.headers["content-type"] == "application/x-vae-latents"
    assert "@sha256:" in answer.headers["x-model"]
    return answer.content


async def test_latents_come_back_within_half_a_bin(client: httpx.AsyncClient) -> None:
    file = await compressed(client, "?step=0.5&sharpen=0")
    assert await compressed(client, "?step=0.5&sharpen=0") == file
    posterior = (await client.post("/encode", content=PICTURES)).json()
    found = (await client.post("/decompress?include=z", content=file, headers=TYPE)).raise_for_status().json()
    width = from_bytes(file).scale
    sigma = np.array(posterior["sigma"])
    np.testing.assert_allclose(width, 0.5 / np.sqrt((1 / sigma**2).mean(0)), rtol=1e-6)
    assert (np.abs(np.array(found["z"]) - posterior["mu"]) <= width * 0.5001).all()
    decoded = (await client.post("/decode", json={"z": found["z"]})).json()
    assert {name: value for name, value in found.items() if name != "z"} == decoded


async def test_the_latents_are_exact_functions_of_the_file(client: httpx.AsyncClient) -> None:
    file = await compressed(client)
    read = from_bytes(file)
    pixels = await client.post("/decompress?format=npy&dtype=float32", content=file)
    decoded = await client.post("/decode?format=npy&dtype=float32", content=npy(dequantize(read.index, read.scale)))
    assert pixels.content == decoded.content
    assert np.load(io.BytesIO(pixels.content)).shape == (12, 8, 8, 1)


@pytest.mark.parametrize("query", ["pixels=sample&seed=4", "format=png&layout=column&scale=2", "format=npy"])
async def test_answers_are_those_of_decode(client: httpx.AsyncClient, query: str) -> None:
    file = await compressed(client)
    z = (await client.post("/decompress?include=z", content=file)).json()["z"]
    found = await client.post(f"/decompress?{query}", content=file)
    assert found.content == (await client.post(f"/decode?{query}", json={"z": z})).content


async def test_the_file_names_its_model(client: httpx.AsyncClient, app: FastAPI) -> None:
    others = [name for name in app.state.service.pipeline.catalog.models if name != "grey"]
    file = await compressed(client, "?model=grey")
    assert (await client.post("/decompress", content=file)).headers["x-model"].startswith("grey@")
    refused = await client.post(f"/decompress?model={others[0]}", content=file)
    assert (refused.status_code, refused.json()["code"]) == (409, "model_mismatch")
    assert "name that model, or leave out model=" in refused.text
    unknown = from_bytes(file)
    object.__setattr__(unknown, "digest", "00" * 32)
    refused = await client.post("/decompress", content=unknown.to_bytes())
    assert (refused.status_code, "no such model is loaded; load that model, or make the file again" in refused.text) == (
        409,
        True,
    )


async def test_damaged_files_are_refused(client: httpx.AsyncClient) -> None:
    file = await compressed(client)
    for body in (b"", file[:-1], file + b"\0", file[:70] + b"\xff" + file[71:], b'{"z": [[0, 0, 0]]}', PICTURES):
        refused = await client.post("/decompress", content=body)
        assert (refused.status_code, refused.json()["code"]) == (400, "undecodable")
        assert "; send the file as /compress wrote it" in refused.json()["detail"]
        assert "b'" not in refused.json()["detail"]


async def test_more_latents_than_a_request_may_have_are_refused(client: httpx.AsyncClient) -> None:
    read = from_bytes(await compressed(client))
    object.__setattr__(read, "index", np.zeros((5000, 3)))
    refused = await client.post("/decompress", content=read.to_bytes())
    assert (refused.status_code, refused.json()["code"]) == (413, "too_many_items")
    object.__setattr__(read, "index", np.full((2, 3), 1e6))
    object.__setattr__(read, "scale", np.full(3, 1, np.float32))
    assert (await client.post("/decompress", content=read.to_bytes())).status_code == 400  # beyond any latent
    object.__setattr__(read, "index", np.zeros((2, 4)))
    object.__setattr__(read, "scale", np.full(4, 1, np.float32))
    assert (await client.post("/decompress", content=read.to_bytes())).status_code == 400  # of another size


@pytest.mark.parametrize("query", ["step=0", "step=nan", "step=-1", "step=1e9", "steps=1", "format=json", "sharpen=2"])
async def test_bad_parameters_are_refused(client: httpx.AsyncClient, query: str) -> None:
    refused = await client.post(f"/compress?{query}", content=PICTURES)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_parameter")


async def test_a_larger_step_gives_a_smaller_file(client: httpx.AsyncClient) -> None:
    sizes = [len(await compressed(client, f"?step={step}")) for step in (0.01, 0.1, 10)]
    assert sizes[0] > sizes[1] > sizes[2]
