"""Two small checkpoints, the application around them, and a way to keep a batching thread busy until a test lets it go."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI

import models
from models import VAE, VAEConfig
from models.calibration import Calibration, smallest_p, write_calibration
from models.mixture import ComponentLabels, GaussianMixture, write_prior
from service.app import create_app
from service.engine.batcher import Batcher
from service.settings import Settings

# no test waits that long unless something hangs
PATIENCE = 30.0


LABELS = ComponentLabels(("7", "cat"), torch.tensor([1, 0]))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"VAE_{name.upper()}", raising=False)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two checkpoints of random weights: "grey" (mlp, 1 x 8 x 8) and "colour" (conv, 3 x 12 x 16).

    Beside "grey" lie a mixture of two components for `/sample`, whose labels are "7" and "cat", and a calibration.
    """
    directory = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    models.save(directory / "grey", VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))
    mixture = GaussianMixture(
        torch.tensor([0.25, 0.75]), torch.tensor([[1.0, 2, 3], [-4, -5, -6]]), 0.1 * torch.eye(3).repeat(2, 1, 1)
    )
    write_prior(directory / "grey", mixture, models.checkpoint.read(directory / "grey").digest, {}, LABELS)
    write_calibration(directory / "grey", calibration_of_grey(), models.checkpoint.read(directory / "grey").digest)
    conv = VAEConfig((3, 12, 16), 4, "conv", {"channels": [4, 8], "hidden": 16}, "gaussian", {"sigma": 0.1})
    models.save(directory / "colour", VAE(conv))
    return directory


def calibration_of_grey() -> Calibration:
    """Made-up training latents (50, 3), and 99 made-up held-out values of each score but density and regret."""
    noise = np.random.default_rng(0)
    mu = noise.normal(size=(50, 3)).astype(np.float16).astype(np.float32)
    sigma = noise.uniform(0.1, 1, (50, 3)).astype(np.float16).astype(np.float32)
    held_out = {
        name: noise.normal(mean, 5, 99)
        for name, mean in (("knn", 1), ("reconstruction", 25), ("deviance", 60), ("elbo", 70), ("iwae", 70))
    }
    default = ("knn", "deviance")
    smallest = smallest_p({name: held_out[name] for name in default})
    ordered = {name: np.sort(values) for name, values in held_out.items()}
    labels = np.arange(50) % 2
    return Calibration(mu, sigma, 0.5, default, ordered, smallest, labels, ("7", "cat"), {"samples": 8, "seed": 0})


@pytest.fixture
async def app(weights: Path, tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The application, started and ready, with small limits."""
    settings = Settings(
        models_dir=weights,
        default_model="grey",
        device="cpu",
        threads=1,
        max_batch=16,
        max_queue_rows=64,
        max_rows=32,
        max_body_bytes=100_000,
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


@pytest.fixture
async def batcher() -> AsyncIterator[Batcher]:
    """A running batcher, closed after the test."""
    batcher = Batcher("batcher under test")
    batcher.start()
    yield batcher
    await batcher.close()


Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]


@pytest.fixture
def busy() -> Busy:
    """`async with busy(batcher):` what is submitted in the block waits until its end."""

    @asynccontextmanager
    async def keep_busy(batcher: Batcher) -> AsyncIterator[None]:
        loop, entered, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def occupy() -> bool:
            loop.call_soon_threadsafe(entered.set)
            return release.wait(PATIENCE)

        call = asyncio.ensure_future(batcher.call(occupy))
        await entered.wait()
        try:
            yield
            await asyncio.sleep(0)  # tasks made in the block come as far as the queue
        finally:
            release.set()
            assert await call

    return keep_busy


@pytest.fixture
def setting(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a service with a store of its own; where files may be put."""
    for name, value in (("MODELS_DIR", weights), ("STORE", tmp_path / "latents.db"), ("DEVICE", "cpu"), ("THREADS", 1)):
        monkeypatch.setenv(f"VAE_{name}", str(value))
    return tmp_path
