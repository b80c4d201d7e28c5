"""Tiny models of each kind, trained for a moment on real data, and the application that serves them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from tests.service.kinds.tiny_models import save_kinds

PATIENCE = 60.0


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of checkpoints: "penguins" (a table), "strokes", "lines" (texts), and "grey" (pictures)."""
    directory = tmp_path_factory.mktemp("kinds")
    save_kinds(directory)
    return directory


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def app(kinds: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FastAPI]:
    """The application with all kinds, started and ready, with small limits; one for all tests, since it starts slowly."""
    settings = Settings(
        models_dir=kinds,
        default_model="grey",
        device="cpu",
        threads=1,
        max_batch=16,
        max_queue_rows=256,
        max_rows=64,
        max_body_bytes=200_000,
        max_pixels=10_000,
        store=str(tmp_path_factory.mktemp("store") / "latents.db"),
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), PATIENCE)
        assert app.state.failure == ""
        yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the application in this process."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
