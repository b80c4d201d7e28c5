"""A loaded VAE as lanes: what they compute is what the model computes."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint
from service.engine.device import Device, QueueLimits
from service.inference.served_model import ServedModel, start_model
from service.latents import noise as seeds


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=16, max_queue_rows=64, max_rows=32))
    device.start()
    yield device
    await device.close()


@pytest.fixture(params=["grey", "colour"])
async def model(request: pytest.FixtureRequest, weights: Path, device: Device) -> ServedModel:
    return await start_model(request.param, checkpoint.read(weights / request.param), device)


def pictures(model: ServedModel, count: int = 5) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, *model.manifest.model.shape), np.uint8)


async def test_a_model_says_what_it_is(model: ServedModel, weights: Path) -> None:
    read = checkpoint.read(weights / model.name)
    assert (model.digest, model.manifest) == (read.digest, read.manifest)
    assert model.shape == {"grey": (8, 8, 1), "colour": (12, 16, 3)}[model.name]
    assert {"encode": model.encode, "encode_float": model.lanes["encode_float"], "decode": model.decode} == model.lanes


async def test_encode_gives_the_posterior_of_each_picture(model: ServedModel, weights: Path) -> None:
    x = pictures(model)
    rows = await model.encode.submit(x)
    posterior = checkpoint.load(weights / model.name).encode(torch.from_numpy(x))
    assert (rows.dtype, rows.shape) == (np.float32, (5, 3, model.manifest.model.latent_dim))
    for row, expected in zip(rows.swapaxes(0, 1), (posterior.mu, posterior.sigma, posterior.logvar), strict=True):
        np.testing.assert_allclose(row, expected.numpy(), rtol=1e-4, atol=1e-6)


async def test_floats_and_bytes_of_a_picture_have_the_same_posterior(model: ServedModel) -> None:
    x = pictures(model)
    floats = x.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(await model.lanes["encode_float"].submit(floats), await model.encode.submit(x))


async def test_decode_gives_the_mean_of_the_likelihood_with_channels_last(model: ServedModel, weights: Path) -> None:
    z = seeds.standard_normal(3, 5, model.manifest.model.latent_dim)
    pixels = await model.decode.submit(z)
    mean = checkpoint.load(weights / model.name).decode(torch.from_numpy(z)).mean
    assert (pixels.dtype, pixels.shape) == (np.float32, (5, *model.shape))
    np.testing.assert_allclose(pixels, mean.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-6)
    assert pixels.min() >= 0
    assert pixels.max() <= 1


async def test_the_counts_begin_when_it_serves(model: ServedModel) -> None:
    for lane in model.lanes.values():
        assert (lane.stats.rows, lane.stats.batches, lane.stats.padded_rows, lane.queued_rows) == (0, 0, 0, 0)


async def test_two_models_of_one_checkpoint_answer_bit_by_bit_alike(model: ServedModel, weights: Path) -> None:
    """After a restart, and with another model beside it."""
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=16, max_queue_rows=64, max_rows=32))
    device.start()
    again = await start_model(model.name, checkpoint.read(weights / model.name), device)
    x = pictures(model, 20)
    np.testing.assert_array_equal(await again.encode.submit(x), await model.encode.submit(x))
    await device.close()
