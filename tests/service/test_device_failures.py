"""The device when it fails: memory that runs out once, a device that is lost, and one that is not there."""

import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from service import seeds
from service.device import Device, DeviceUnusable, Limits, Operation
from service.gate import DeviceLost

CPU = torch.device("cpu")


def examples(rows: int) -> NDArray[np.float32]:
    return seeds.standard_normal(1, rows, 3)


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device("cpu", threads=1, limits=Limits(max_batch=32, max_queue_rows=256, max_rows=128))
    device.start()
    yield device
    await device.close()


class Failing:
    """Squares, but raises these exceptions first, one a call."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.sizes: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if self.errors:
            raise self.errors.pop(0)
        return x * x


@pytest.mark.parametrize(
    ("buckets", "rows", "sizes"),
    [
        ([8, 16, 32], 30, [32, 16, 16]),
        ([8, 16, 32], 12, [16, 8, 8]),
        ([8, 32], 20, [32, 8, 8, 8]),
        ([8, 16, 32], 5, [8, 8]),  # there is nothing smaller: once more, with the cache free
        ([32], 32, [32, 32]),
    ],
)
def test_out_of_memory_is_tried_once_more_in_halves(buckets: list[int], rows: int, sizes: list[int]) -> None:
    function = Failing(torch.OutOfMemoryError("CUDA out of memory"))
    operation = Operation(function, examples(32), CPU)
    operation.buckets = buckets
    block = examples(rows)
    answers = operation([block[:3], block[3:]])
    np.testing.assert_array_equal(np.concatenate(answers), block * block)
    assert [len(answer) for answer in answers] == [3, rows - 3]
    assert function.sizes == sizes


def test_out_of_memory_twice_is_an_error() -> None:
    function = Failing(*[torch.OutOfMemoryError("CUDA out of memory")] * 2)
    with pytest.raises(torch.OutOfMemoryError):
        Operation(function, examples(8), CPU)([examples(8)])


@pytest.mark.parametrize("before", [[], [torch.OutOfMemoryError("CUDA out of memory")]])
def test_a_cuda_error_is_a_lost_device(before: list[Exception]) -> None:
    function = Failing(*before, RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"))
    with pytest.raises(DeviceLost, match=r"cpu is lost: CUDA error: unspecified launch failure$"):
        Operation(function, examples(8), CPU)([examples(8)])


def test_another_error_is_left_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="sizes differ") as caught:
        Operation(Failing(RuntimeError("sizes differ")), examples(8), CPU)([examples(8)])
    assert type(caught.value) is RuntimeError


async def test_a_lost_device_admits_nothing_more(device: Device) -> None:
    function = Failing()
    lane = await device.lane(function, examples(32))
    assert device.lost == ""
    function.errors.append(RuntimeError("CUDA error: device-side assert triggered"))
    for _ in range(2):
        with pytest.raises(DeviceLost, match="device-side assert"):
            await lane.submit(examples(1))
    assert "device-side assert" in device.lost


# --- start


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_with_its_name(name: str) -> None:
    with pytest.raises(DeviceUnusable, match=f"cannot use the device {name}:"):
        Device(name, threads=1).start()


async def test_a_device_computes_on_as_many_threads_as_it_was_told() -> None:
    before = torch.get_num_threads()
    device = Device("cpu", threads=before + 1)
    assert torch.get_num_threads() == before
    try:
        device.start()
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert "device" in [thread.name for thread in threading.enumerate()]
    await device.close()
    assert "device" not in [thread.name for thread in threading.enumerate()]


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    assert Device("auto").torch_device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert Device("cpu", threads=3).threads == 3
    assert Device("cpu").threads >= 1
