"""Picture files of any size that cannot be written, and other requests that are refused before anything is computed."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from fastapi import FastAPI
from PIL import Image

from service.app import create_app
from service.settings import Settings
from tests.autoencoders import CHANNELS, save_autoencoder

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE = 60.0


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    found = tmp_path_factory.mktemp("models")
    save_autoencoder(found / "kl", scaling_factor=0.5)
    (found / "grey").symlink_to(weights / "grey")
    return found


def settings(directory: Path, store: Path, **more: Any) -> Settings:
    return Settings(
        models_dir=directory, device="cpu", threads=1, max_batch=8, max_queue_rows=256, max_rows=128, store=str(store), **more
    )  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FastAPI]:
    app = create_app(settings(directory, tmp_path_factory.mktemp("store") / "latents.db", default_model="kl"))
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), PATIENCE)
        assert app.state.failure == ""
        yield app


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=PATIENCE) as client:
        yield client


def picture(height: int, width: int, seed: int = 0) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).save(out, "png")
    return out.getvalue()


def text(file: bytes) -> str:
    return base64.b64encode(file).decode()


def refusal(answer: httpx.Response, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    detail: str = answer.json()["detail"]
    return detail


def prepared(app: FastAPI) -> set[str]:
    kind = app.state.service.pipeline.catalog.get("kl").kind
    return {name for name, lane in kind.all_lanes.items() if lane.stats.batches}


@pytest.mark.parametrize("as_picture", [False, True], ids=["latents", "picture"])
async def test_a_file_with_sides_that_its_format_cannot_have_is_refused_before_it_is_computed(
    client: httpx.AsyncClient, app: FastAPI, as_picture: bool
) -> None:
    def end(width: int) -> Any:
        if as_picture:
            return {"image": text(picture(4, width))}
        return {"z": np.zeros((CHANNELS, 1, width // 4), np.float32).tolist()}

    before = prepared(app)
    for form, width, most in (("webp", 16_384, 16_383), ("gif", 65_536, 65_535)):
        body = {"start": end(width), "end": end(width), "steps": 2}
        said = refusal(await client.post(f"/interpolate?format={form}", json=body))
        assert f"4 x {width} pixels (height x width), and each side of a {form} file can have at most {most}" in said
        assert "use format=png" in said
    assert prepared(app) == before


async def test_a_scale_for_pictures_of_another_size_is_refused_before_they_are_computed(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    before = prepared(app)
    file = picture(4, 2048)
    for path, body in (
        ("/reconstruct?format=png&scale=32", {"content": file}),
        ("/interpolate?format=png&scale=32", {"json": {"start": {"image": text(file)}, "end": {"image": text(file)}}}),
    ):
        assert "the answer would be too large" in refusal(await client.post(path, **body))
    assert prepared(app) == before


async def test_diffusers_gets_no_jpeg_with_longer_sides_than_it_can_have(client: httpx.AsyncClient, app: FastAPI) -> None:
    before = prepared(app)
    query = "shape=1&shape=4&shape=1&shape=16376"
    said = refusal(await client.post(f"/diffusers/kl/decode?{query}", content=bytes(16 * 16_376)))
    assert "4 x 65504 pixels (height x width), and each side of a JPEG file can have at most 65500" in said
    assert "image_format=png" in said
    assert prepared(app) == before


@pytest.mark.parametrize("operation", ["encode", "decode"])
async def test_diffusers_hears_of_an_unknown_model_first(client: httpx.AsyncClient, operation: str) -> None:
    assert "no model 'nope' is loaded" in refusal(await client.post(f"/diffusers/nope/{operation}"), 404)


@pytest.mark.parametrize("query", ["n=1_0", "n=%201", "temperature=1_0.5", "seed=1_0", "n=%D9%A1"])
async def test_numbers_in_a_query_are_plain(client: httpx.AsyncClient, query: str) -> None:
    assert query.partition("=")[0] in refusal(await client.get(f"/sample?model=grey&{query}"))
