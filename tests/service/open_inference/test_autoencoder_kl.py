"""A model of diffusers at this door, beside one that ONNX Runtime computes: the engine, floats in [0, 1], its only size."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from service.app import create_app
from service.settings import Settings
from tests.autoencoders import save_autoencoder
from tests.service.open_inference.bodies import ask, infer

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Latents as large as these make pixels outside of [0, 1].
Z = 30 * np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    directory = tmp_path_factory.mktemp("models")
    save_autoencoder(directory / "kl", scaling_factor=0.5)
    (directory / "grey").symlink_to(weights / "grey")
    store = str(tmp_path_factory.mktemp("store") / "latents.db")
    usual: dict[str, Any] = {"device": "cpu", "threads": 1, "max_batch": 8, "store": store}
    app = create_app(Settings(models_dir=directory, default_model="grey", engine="auto", **usual))
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), 60)
        assert app.state.failure == ""
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            yield client


async def test_the_engine_is_the_one_that_computes_the_model(client: httpx.AsyncClient) -> None:
    """The device has ONNX Runtime, which the net of diffusers does not go through."""
    assert (await client.get("/info")).json()["engine_name"] == "onnx"
    metrics = (await client.get("/metrics")).text.splitlines()
    for name, engine, platform, backend in (
        ("kl", "torch", "pytorch_torchscript", "pytorch"),
        ("grey", "onnx", "onnx_onnxv1", "onnxruntime"),
    ):
        assert (await client.get(f"/v2/models/{name}.encode")).json()["platform"] == platform
        config = (await client.get(f"/v2/models/{name}.decode/config")).json()
        assert (config["platform"], config["backend"]) == (platform, backend)
        (said,) = [line for line in metrics if line.startswith("vae_model_info{") and f'model="{name}"' in line]
        assert f'engine="{engine}"' in said


async def test_pictures_as_floats_are_clipped_but_not_for_diffusers(client: httpx.AsyncClient) -> None:
    query = "&".join(f"shape={size}" for size in (2, 4, 4, 4))
    raw = await client.post(f"/diffusers/kl/decode?{query}&output_type=pt", content=Z.tobytes())
    means = (np.frombuffer(raw.content, np.float32).reshape(2, 3, 16, 16).transpose(0, 2, 3, 1) + 1) / 2
    assert means.min() < 0
    assert means.max() > 1
    floats = (await infer(client, "kl.decode", {"z": Z}, parameters={"dtype": "FP32"}))["image"]
    np.testing.assert_allclose(floats, means.clip(0, 1), atol=1e-6)
    out = io.BytesIO()
    np.save(out, Z)
    rest = await client.post("/decode?model=kl&format=npy&dtype=float32", content=out.getvalue())
    assert np.array_equal(np.load(io.BytesIO(rest.content)), floats)
    assert np.array_equal((await infer(client, "kl.decode", {"z": Z}))["image"], np.rint(floats * np.float32(255)))
    path = await infer(client, "kl.interpolate", {"z": Z}, parameters={"dtype": "FP32", "steps": 2})
    assert np.array_equal(path["image"], floats)
    again = await client.post("/encode?model=kl", content=rest.content)  # What the service answers, it takes.
    assert again.status_code == 200, again.text


async def test_only_the_own_size(client: httpx.AsyncClient) -> None:
    files = []
    for size in ((16, 16), (24, 16)):
        out = io.BytesIO()
        Image.new("RGB", size, (9, 99, 200)).save(out, "PNG")
        files.append(out.getvalue())
    assert (await infer(client, "kl.encode_files", {"image": files[:1]}))["mu"].shape == (1, 64)
    refused = await ask(client, "kl.encode_files", {"image": files[1:]})
    assert refused.status_code == 400
    assert "16 x 24 pixels (height x width), and here the model takes 16 x 16 only" in refused.json()["detail"]
