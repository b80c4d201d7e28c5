"""Three checkpoints, two of which are loaded, and the application around them with settings of the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

import models
from models import VAE, VAEConfig
from service.app import create_app
from service.settings import Settings

Opened = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    for seed, name in enumerate(("first", "second", "spare")):
        torch.manual_seed(seed)
        models.save(tmp_path / "models" / name, VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))
    return tmp_path / "models"


@pytest.fixture
def opened(shelf: Path, tmp_path: Path) -> Opened:
    """A function that starts the application with other settings."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        usual = {"models_dir": shelf, "models": ("first", "second"), "default_model": "first", "device": "cpu", "threads": 1}
        app = create_app(Settings(**{**usual, "engine": "torch", "store": str(tmp_path / "latents.db"), **settings}))
        async with app.router.lifespan_context(app):
            await asyncio.wait_for(app.state.started.wait(), 30)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                yield client

    return opened
