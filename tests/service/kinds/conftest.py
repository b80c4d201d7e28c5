"""Tiny models of each kind, trained for a moment on real data, and the application that serves them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import torch
from fastapi import FastAPI

import models
from models import VAE, VAEConfig
from models.data.sources import load_data
from service.app import create_app
from service.settings import Settings

DATA = Path(__file__).parent.parent.parent / "data"
PATIENCE = 60.0


def train(config: VAEConfig, x: torch.Tensor, steps: int) -> VAE:
    """Return a model that has seen so many batches of rows."""
    torch.manual_seed(0)
    vae = VAE(config).train()
    optimizer = torch.optim.Adam(vae.parameters(), 3e-3)
    for step in range(steps):
        rows = vae.kind.to_x(x[torch.randint(len(x), (64,), generator=torch.Generator().manual_seed(step))])
        posterior = vae.encode(rows)
        z = posterior.sample(torch.randn_like(posterior.mu))
        loss = (posterior.kl(vae.prior(posterior.mu)) - vae.decode(z).log_prob(rows)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return vae.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of checkpoints: "penguins" (a table), and "grey" (pictures)."""
    directory = tmp_path_factory.mktemp("kinds")
    torch.manual_seed(0)
    models.save(directory / "grey", VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))
    table = load_data(f"csv:{DATA / 'penguins.csv'}", directory)
    spec = table.preprocessing
    sizes, floors = [one.cardinality for one in spec.columns], [one.floor for one in spec.columns]
    net, likelihood = {"cardinalities": sizes, "hidden": [32]}, {"cardinalities": sizes, "floors": floors}
    config = VAEConfig(spec.shape, 4, "table", net, "columns", likelihood, kind="table")
    models.save(directory / "penguins", train(config, table.train.x, 150), spec)
    return directory


@pytest.fixture
async def app(kinds: Path, tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The application with all kinds, started and ready, with small limits."""
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
        store=str(tmp_path / "latents.db"),
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app.state.started.wait(), PATIENCE)
        assert app.state.failure == ""
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the application in this process."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
