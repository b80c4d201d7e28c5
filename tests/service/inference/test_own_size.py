"""The own size of a model of diffusers at the start of a service."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import models
from models import VAE, VAEConfig
from service.engine.device import Device, QueueLimits
from service.inference.catalog import Catalog, CatalogError
from service.inference.kinds import size_limits
from tests.autoencoders import save_autoencoder


@pytest.fixture
async def catalog() -> AsyncIterator[Catalog]:
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=8, max_queue_rows=8, max_rows=8))
    device.start()
    yield Catalog(device)
    await device.close()


async def test_a_large_one_is_made_smaller_and_the_log_says_so(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_autoencoder(tmp_path / "wide", block_out_channels=(4, 4), latent_channels=1, sample_size=[1024, 512])
    save_autoencoder(tmp_path / "small", block_out_channels=(4, 4), latent_channels=1, sample_size=[32, 16])
    with caplog.at_level(logging.INFO):
        await catalog.load(tmp_path, (), "small")
    assert catalog.get("wide").shape == (128, 64, 3)
    assert catalog.get("small").shape == (32, 16, 3)
    assert "wide: its own size is 128 x 64 pixels, less than its sample_size, [1024, 512]" in caplog.text
    assert "small: its own size" not in caplog.text


async def test_one_above_the_largest_picture_is_refused(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a model in the service's own layout can have one."""
    options = {"block_out_channels": [4], "norm_num_groups": 4, "latent_channels": 1}
    models.save(tmp_path / "huge", VAE(VAEConfig((3, 8, 8), 64, "autoencoder_kl", options, "gaussian", {"link": "identity"})))
    monkeypatch.setattr(size_limits, "MAX_PIXELS", 63)
    with pytest.raises(CatalogError, match=r"huge: its own size, 8 x 8, has 64 pixels, but its pictures can have at most 63"):
        await catalog.load(tmp_path, ("huge",), "huge")
