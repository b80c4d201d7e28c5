"""The application with a small model of diffusers, one for each file of tests that asks for it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from service.app import create_app
from tests.service.autoencoder_service import PATIENCE, make_models, settings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kl_app(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> AsyncIterator[FastAPI]:
    """The application, ready."""
    directory, store = make_models(tmp_path_factory.mktemp("models"), weights), tmp_path_factory.mktemp("store") / "latents.db"
    app = create_app(settings(directory, store, default_model="kl"))
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), PATIENCE)
        assert app.state.failure == ""
        yield app


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kl_client(kl_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it."""
    transport = httpx.ASGITransport(kl_app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=PATIENCE) as client:
        yield client
