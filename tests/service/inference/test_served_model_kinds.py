"""Models of every architecture and prior are served: what their lanes compute is what the model computes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models
from models import VAE, VAEConfig, checkpoint
from service.engine.device import Device, QueueLimits
from service.inference.served_model import start_model
from service.latents import noise as seeds

KINDS: dict[str, dict[str, Any]] = {
    "gated": {"arch": "gated", "arch_options": {"hidden": [16]}},
    "residual": {"arch": "residual", "arch_options": {"channels": [4], "hidden": 8}},
    "vamp": {"arch": "mlp", "arch_options": {"hidden": [16]}, "prior": "vamp", "prior_options": {"pseudo_inputs": 5}},
}


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=16, max_queue_rows=64, max_rows=32))
    device.start()
    yield device
    await device.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_encode_and_decode(kind: str, device: Device, tmp_path: Path) -> None:
    torch.manual_seed(0)
    models.save(tmp_path / kind, VAE(VAEConfig((1, 8, 8), 3, **KINDS[kind])))
    model = await start_model(kind, checkpoint.read(tmp_path / kind), device)
    vae = checkpoint.load(tmp_path / kind)
    x = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), np.uint8)
    posterior, z = vae.encode(torch.from_numpy(x)), seeds.standard_normal(3, 5, 3)
    rows = (await model.encode.submit(x)).swapaxes(0, 1)
    np.testing.assert_allclose(rows[0], posterior.mu.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rows[1], posterior.sigma.numpy(), rtol=1e-4, atol=1e-6)
    mean = vae.decode(torch.from_numpy(z)).mean
    np.testing.assert_allclose((await model.decode.submit(z))[..., 0], mean[:, 0].numpy(), rtol=1e-4, atol=1e-5)
