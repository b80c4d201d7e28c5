"""The queue of regret: made once, when it is first needed, from the weights that are loaded."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from models import checkpoint, regret
from models.checkpoint import Checkpoint
from service.engine.device import Device, EngineName, QueueLimits
from service.engine.lane import Lane
from service.inference.regret_lane import BATCH_ROWS, ModelChanged, RegretLane, first_rows, parts_of, set_step
from service.latents import noise as seeds


@pytest.fixture(params=["torch", "auto"])
async def device(request: pytest.FixtureRequest) -> AsyncIterator[Device]:
    engine: EngineName = request.param
    device = Device("cpu", 1, QueueLimits(max_batch=32, max_queue_rows=64, max_rows=32), engine)
    device.start()
    yield device
    await device.close()


@pytest.fixture
def directory(weights: Path, tmp_path: Path) -> Path:
    return shutil.copytree(weights / "grey", tmp_path / "grey")


@pytest.fixture
def lane_of(directory: Path, device: Device) -> Callable[[], RegretLane]:
    return lambda: RegretLane("grey", checkpoint.read(directory).digest, partial(checkpoint.read, directory), device)


async def test_it_is_made_once_for_all_who_ask(directory: Path, device: Device) -> None:
    reads: list[int] = []
    told: list[Lane] = []

    def read() -> Checkpoint:
        reads.append(1)
        return checkpoint.read(directory)

    own = RegretLane("grey", checkpoint.read(directory).digest, read, device)
    own.tell_of = told.append
    assert own.lane is None
    impatient = asyncio.ensure_future(own.get())
    others = [asyncio.ensure_future(own.get()) for _ in range(3)]
    await asyncio.sleep(0)
    impatient.cancel()
    (first, *rest) = await asyncio.gather(*others)
    assert first is own.lane is await own.get()
    assert all(one is first for one in rest)
    assert (len(reads), told) == (1, [first])


async def test_its_rows_are_steps_whatever_batch_they_are_in(directory: Path, lane_of: Callable[[], RegretLane]) -> None:
    lane: Lane = await lane_of().get()
    assert lane.max_batch == BATCH_ROWS
    vae, x = models.load(directory), np.random.default_rng(0).random((20, 1, 8, 8), np.float32)
    with torch.no_grad():
        posterior = vae.encode(torch.from_numpy(x))
        state = regret.first_state(posterior.mu, posterior.logvar)
    eps = seeds.standard_normal(0, 1, 3)[0]
    rows = first_rows(x, state.numpy())
    set_step(rows, state.numpy(), 1, eps)
    found, elbo = parts_of(await lane.submit(rows))
    wanted = regret.step(vae, None, torch.from_numpy(x), state, torch.ones(20, 1), torch.from_numpy(eps).expand(20, -1))
    np.testing.assert_allclose(found, wanted[0].numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(elbo, wanted[1].numpy(), rtol=1e-4)
    for i in range(20):
        alone, its = parts_of(await lane.submit(rows[i : i + 1]))
        np.testing.assert_array_equal(alone[0], found[i])
        np.testing.assert_array_equal(its[0], elbo[i])


async def test_other_weights_are_refused_until_the_old_ones_are_back(
    directory: Path, lane_of: Callable[[], RegretLane], caplog: pytest.LogCaptureFixture
) -> None:
    own, kept = lane_of(), (directory / checkpoint.CONFIG).read_bytes()
    (directory / checkpoint.CONFIG).write_bytes(kept + b"\n")
    with pytest.raises(ModelChanged, match=r"weights of 'grey' .*its directory has others now; reload the model"):
        await own.get()
    (directory / checkpoint.CONFIG).unlink()
    with pytest.raises(ModelChanged, match="they cannot be read") as caught:
        await own.get()
    assert str(directory) not in str(caught.value)
    assert str(directory) in caplog.text
    (directory / checkpoint.CONFIG).write_bytes(kept)
    assert (await own.get()).max_batch == BATCH_ROWS


async def test_it_ends_with_its_model(lane_of: Callable[[], RegretLane], device: Device) -> None:
    own, early = lane_of(), lane_of()
    await own.get()
    own.end()
    own.end()
    assert own.lane is None
    making = asyncio.ensure_future(early.get())
    await asyncio.sleep(0)
    early.end()
    await making
    await asyncio.sleep(0)
    assert early.lane is None
