"""Small models as they are served: one of diffusers, and one of grey pictures."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.engine.device import Device, QueueLimits
from service.formats.decoder_processes.dispatch import Decoders
from service.inference.catalog import Catalog
from service.inference.pipeline import Pipeline
from tests.autoencoders import save_autoencoder


@pytest.fixture(scope="module")
def kl_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def original(kl_directory: Path) -> Any:
    return save_autoencoder(kl_directory / "kl", scaling_factor=0.5, shift_factor=0.25)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kl_pipeline(kl_directory: Path, original: Any) -> AsyncIterator[Pipeline]:
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=16, max_queue_rows=64, max_rows=32))
    device.start()
    catalog = Catalog(device)
    await catalog.load(kl_directory, (), "kl")
    pipeline = Pipeline(catalog, Decoders(10_000_000))
    yield pipeline
    await pipeline.close()
    await device.close()


@pytest.fixture
async def pipeline(weights: Path) -> AsyncIterator[Pipeline]:
    """The pipeline of a model of grey pictures of 8 x 8."""
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=16, max_queue_rows=150, max_rows=120))
    device.start()
    pipeline = Pipeline(Catalog(device), Decoders(max_pixels=10_000))
    await pipeline.catalog.load(weights, ("grey",), "grey")
    yield pipeline
    await device.close()
    await pipeline.close()
