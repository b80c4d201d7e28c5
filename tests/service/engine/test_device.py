"""The device: one answer whatever the batch and whoever else is served, by every engine; its start, its loss, its end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import models
from service.engine.device import SHORT_SECONDS, Device, EngineName, QueueLimits
from service.engine.errors import DeviceLost, DeviceUnusable
from service.engine.lane import Lane
from service.latents import noise as seeds

Function = Callable[[Tensor], Tensor]
Rows = NDArray[np.float32]


def examples(rows: int, width: int = 3) -> Rows:
    return seeds.standard_normal(1, rows, width)


def decoder(weights: Path, name: str) -> tuple[Function, int]:
    vae = models.load(weights / name)
    return lambda z: vae.decode(z).mean, vae.config.latent_dim


def new_device(engine: EngineName, max_batch: int = 32) -> Device:
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch, max_queue_rows=256, max_rows=128), engine=engine)
    device.start()
    return device


async def lane_of(device: Device, function: Function, rows: Rows) -> Lane:
    (lane,) = await device.lanes(function, rows)
    return lane


@pytest.fixture(params=["torch", "onnx"])
async def device(request: pytest.FixtureRequest) -> AsyncIterator[Device]:
    device = new_device(request.param)
    yield device
    await device.close()


@pytest.fixture
async def torch_device() -> AsyncIterator[Device]:
    """A device with the engine torch, for functions that record their calls, which an exported function cannot do."""
    device = new_device("torch")
    yield device
    await device.close()


@pytest.mark.parametrize(
    ("engine", "threads", "loop_threads", "said"),
    [
        ("onnx", 1, 2, "cpu by onnx in float32, 1 thread, up to 2 in a short batch"),
        ("onnx", 2, 2, "cpu by onnx in float32, 2 threads"),
        ("torch", 1, 2, "cpu by torch in float32, 1 thread"),
    ],
)
def test_it_says_how_many_threads_compute(engine: EngineName, threads: int, loop_threads: int, said: str) -> None:
    assert Device("cpu", threads, engine=engine, loop_threads=loop_threads).description == said


@pytest.mark.parametrize("name", ["grey", "colour"])
async def test_answers_do_not_depend_on_who_else_is_served(weights: Path, device: Device, name: str) -> None:
    function, dim = decoder(weights, name)
    lane = await lane_of(device, function, examples(32, dim))
    rows = seeds.standard_normal(7, 100, dim)
    alone = np.concatenate([await lane.submit(row[None]) for row in rows])
    np.testing.assert_array_equal(await lane.submit(rows), alone)
    np.testing.assert_array_equal(await lane.submit(rows[::-1]), alone[::-1])
    for sizes in ((1, 5, 26), (31, 1), (8, 8, 8), (50, 30, 20)):
        ends = np.cumsum(sizes)
        blocks = [rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        answers = await asyncio.gather(*(lane.submit(block) for block in blocks))
        for answer, size, end in zip(answers, sizes, ends, strict=True):
            np.testing.assert_array_equal(answer, alone[end - size : end])


@pytest.mark.parametrize("name", ["grey", "colour"])
async def test_a_second_device_answers_alike(weights: Path, device: Device, name: str) -> None:
    """As after a restart: other buckets may be the faster ones now, the answers are the same."""
    function, dim = decoder(weights, name)
    other = new_device(device.engine)
    rows = seeds.standard_normal(7, 50, dim)
    lanes = [await lane_of(one, function, examples(32, dim)) for one in (device, other)]
    for count in (1, 2, 3, 5, 9, 17, 33, 50):
        first, second = [await lane.submit(rows[:count]) for lane in lanes]
        np.testing.assert_array_equal(first, second)
    await other.close()


def positional(x: Tensor) -> Tensor:
    return x + torch.arange(len(x))[:, None]


@pytest.mark.parametrize(("spoiled_from", "max_batch"), [(33, 32), (32, 16), (16, 8), (8, 1), (2, 1)])
async def test_a_lane_gets_batches_in_which_the_place_does_not_matter(
    torch_device: Device, spoiled_from: int, max_batch: int, caplog: pytest.LogCaptureFixture
) -> None:
    lane = await lane_of(torch_device, lambda x: positional(x) if len(x) >= spoiled_from else x * 1, examples(32))
    assert lane.max_batch == max_batch
    np.testing.assert_array_equal(await lane.submit(examples(50)), examples(50))
    assert len(caplog.records) == [32, 16, 8, 1].index(max_batch)


@pytest.mark.parametrize("max_batch", [8, 24, 32])
async def test_warm_up_is_nobodys_request_and_padding_is_counted(max_batch: int) -> None:
    sizes: list[int] = []

    def note(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x * x

    device = new_device("torch", max_batch)
    lane = await lane_of(device, note, examples(max_batch))
    assert {1, max_batch} <= set(sizes)
    assert (lane.stats.rows, lane.stats.batches, lane.stats.padded_rows) == (0, 0, 0)
    sizes.clear()
    for count in (1, 3, 5, max_batch, max_batch + 1):
        np.testing.assert_array_equal(await lane.submit(examples(count)), examples(count) ** 2)
    rows = 1 + 3 + 5 + max_batch + max_batch + 1
    assert (lane.stats.rows, lane.stats.batches) == (rows, 6) == (rows, len(sizes))
    assert lane.stats.padded_rows == sum(sizes) - rows
    await device.close()


async def test_short_batches_run_on_the_event_loop_and_long_ones_on_a_thread(
    torch_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what a batch took when it was warmed up: a clock that stands still makes all short, one that jumps makes all long."""
    threads: list[threading.Thread] = []

    def note(x: Tensor) -> Tensor:
        threads.append(threading.current_thread())
        return x * 1

    for tick, on_loop in ((0.0, True), (2 * SHORT_SECONDS, False)):
        now = [0.0]

        def perf_counter(now: list[float] = now, tick: float = tick) -> float:
            now[0] += tick
            return now[0]

        with monkeypatch.context() as patch:
            patch.setattr("service.engine.buckets.time", SimpleNamespace(perf_counter=perf_counter))
            lane = await lane_of(torch_device, note, examples(32))
        assert threading.main_thread() not in threads  # warm-up leaves the event loop free
        threads.clear()
        await lane.submit(examples(3))
        assert [thread is threading.main_thread() for thread in threads] == [on_loop]
        threads.clear()


# --- loss


async def test_a_lost_device_admits_nothing_more(torch_device: Device) -> None:
    broken: list[bool] = []

    def function(x: Tensor) -> Tensor:
        if broken:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return x * x

    lane = await lane_of(torch_device, function, examples(32))
    assert torch_device.lost == ""
    broken.append(True)
    for _ in range(2):
        with pytest.raises(DeviceLost, match="device-side assert"):
            await lane.submit(examples(1))
    assert "device-side assert" in torch_device.lost


# --- start and end


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_with_its_name(name: str) -> None:
    with pytest.raises(DeviceUnusable, match=f"cannot use the device {name}:"):
        Device(name, threads=1).start()


def test_tf32_is_refused_on_the_cpu() -> None:
    """It would compute in float32, and by a slower engine than without it."""
    with pytest.raises(
        DeviceUnusable, match="tf32 is a precision of GPUs, and the device is the CPU; use the precision float32"
    ):
        Device("cpu", threads=1, precision="tf32").start()


async def test_a_device_computes_on_as_many_threads_as_it_was_told() -> None:
    earlier = set(threading.enumerate())
    before = torch.get_num_threads()
    device = Device("cpu", threads=before + 1)
    assert torch.get_num_threads() == before
    try:
        device.start()
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    (thread,) = set(threading.enumerate()) - earlier
    assert thread.name == "device"
    await device.close()
    assert not thread.is_alive()


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    assert Device("auto").torch_device.type == ("cuda" if torch.cuda.is_available() else "cpu")
