"""The device: buckets and padding leave every answer bit-identical."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import models
from service import seeds
from service.device import Device, Limits, NotInvariant, Operation

Function = Callable[[Tensor], Tensor]
Rows = NDArray[np.float32]

CPU = torch.device("cpu")


def examples(rows: int, width: int = 3) -> Rows:
    return seeds.standard_normal(1, rows, width)


def square(x: Tensor) -> Tensor:
    return x * x


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device("cpu", threads=1, limits=Limits(max_batch=32, max_queue_rows=256, max_rows=128))
    device.start()
    yield device
    await device.close()


def decoder(weights: Path, name: str) -> tuple[Function, int]:
    vae = models.load(weights / name)
    return lambda z: vae.decode(z).mean, vae.config.latent_dim


# --- one answer, whatever the batch


@pytest.mark.parametrize("name", ["grey", "colour"])
def test_rows_are_bit_identical_in_every_bucket_and_place(weights: Path, name: str) -> None:
    function, dim = decoder(weights, name)
    operation = Operation(function, examples(32, dim), CPU)
    reference = operation.check_reference()
    operation.buckets = [8, 16, 24, 32]
    rows = examples(32, dim)
    for count in (1, 2, 3, 7, 8, 9, 17, 31, 32):
        for start in (0, 32 - count):
            (answer,) = operation([rows[start : start + count]])
            np.testing.assert_array_equal(answer, reference[start : start + count], f"{count} rows from {start}")


@pytest.mark.parametrize("name", ["grey", "colour"])
async def test_answers_do_not_depend_on_who_else_is_served(weights: Path, device: Device, name: str) -> None:
    function, dim = decoder(weights, name)
    lane = await device.lane(function, examples(32, dim))
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


def test_rows_come_back_block_by_block_and_padding_is_counted() -> None:
    operation = Operation(square, examples(32), CPU)
    operation.buckets = [8, 16, 32]
    blocks = [np.full((size, 3), size, np.float32) for size in (1, 4, 6)]
    for block, answer in zip(blocks, operation(blocks), strict=True):
        np.testing.assert_array_equal(answer, block * block)
    assert operation.padded_rows == 16 - 11
    operation([examples(8)])
    operation([examples(17)])
    assert operation.padded_rows == 5 + 0 + 15


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_padding_is_zeros_and_rows_keep_their_type(dtype: type[np.generic]) -> None:
    seen: list[NDArray[np.generic]] = []

    def note(x: Tensor) -> Tensor:
        seen.append(x.numpy().copy())
        return x * 1

    operation = Operation(note, np.ones((8, 2), dtype), CPU)
    operation([np.full((8, 2), 7, dtype)])
    operation([np.full((3, 2), 9, dtype)])
    assert seen[-1].dtype == dtype
    np.testing.assert_array_equal(seen[-1], [[9, 9]] * 3 + [[0, 0]] * 5)


def test_an_answer_is_not_overwritten_by_the_next_batch() -> None:
    """Also when the function gives back what it was given."""
    operation = Operation(lambda x: x, examples(8), CPU)
    (first,) = operation([np.ones((2, 3), np.float32)])
    operation([np.zeros((2, 3), np.float32)])
    np.testing.assert_array_equal(first, np.ones((2, 3)))


# --- buckets


class RowClock:
    """A clock that goes by the rows that a function was given, instead of by seconds."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.sizes: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self._function(x)

    def perf_counter(self) -> float:
        return float(sum(self.sizes))


def buckets_of(function: Function, monkeypatch: pytest.MonkeyPatch, tried: tuple[int, ...] = (16, 8)) -> list[int]:
    clock = RowClock(function)
    monkeypatch.setattr("service.device.time", SimpleNamespace(perf_counter=clock.perf_counter))
    operation = Operation(clock, examples(32), CPU)
    reference = operation.check_reference()
    for bucket in tried:
        operation.try_bucket(bucket, reference)
    return operation.buckets


def test_a_bucket_that_is_equal_and_faster_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert buckets_of(square, monkeypatch) == [8, 16, 32]


@pytest.mark.parametrize("differing", [8, 16])
def test_a_bucket_that_differs_from_the_reference_is_not_used(monkeypatch: pytest.MonkeyPatch, differing: int) -> None:
    def function(x: Tensor) -> Tensor:
        return x + (1e-6 if len(x) == differing else 0)

    assert buckets_of(function, monkeypatch) == sorted({8, 16, 32} - {differing})


def test_a_bucket_that_differs_for_one_row_in_one_place_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    last = torch.from_numpy(examples(32)[-1])

    def function(x: Tensor) -> Tensor:
        return x + 1e-6 * float(len(x) == 8) * (x == last)

    assert 8 not in buckets_of(function, monkeypatch)


def test_a_bucket_that_is_not_faster_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def function(x: Tensor) -> Tensor:
        return x * 2

    clock = SimpleNamespace(perf_counter=lambda: 0.0)
    monkeypatch.setattr("service.device.time", clock)
    operation = Operation(function, examples(32), CPU)
    operation.try_bucket(16, operation.check_reference())
    assert operation.buckets == [32]


def test_not_a_number_equals_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert buckets_of(lambda x: x * float("nan"), monkeypatch) == [8, 16, 32]


def positional(x: Tensor) -> Tensor:
    return x + torch.arange(len(x))[:, None]


def of_mates(x: Tensor) -> Tensor:
    return x - x.cumsum(0)


@pytest.mark.parametrize("function", [positional, of_mates])
@pytest.mark.parametrize("reference", [8, 32])
def test_an_operation_that_depends_on_the_place_in_the_batch_is_refused(function: Function, reference: int) -> None:
    with pytest.raises(NotInvariant, match=f"batches of {reference}"):
        Operation(function, examples(reference), CPU).check_reference()


@pytest.mark.parametrize(("spoiled_from", "max_batch"), [(33, 32), (32, 16), (16, 8), (8, 1), (2, 1)])
async def test_a_lane_gets_batches_in_which_the_place_does_not_matter(
    device: Device, spoiled_from: int, max_batch: int
) -> None:
    lane = await device.lane(lambda x: positional(x) if len(x) >= spoiled_from else x * 1, examples(32))
    assert lane.max_batch == max_batch
    np.testing.assert_array_equal(await lane.submit(examples(50)), examples(50))


@pytest.mark.parametrize(
    ("max_batch", "buckets"), [(8, [8]), (16, [8, 16]), (24, [24]), (40, [40]), (48, [24, 48]), (64, [8, 16, 32, 64])]
)
async def test_a_lane_halves_its_buckets_as_long_as_they_are_multiples_of_8(
    max_batch: int, buckets: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = RowClock(square)
    monkeypatch.setattr("service.device.time", SimpleNamespace(perf_counter=clock.perf_counter))
    device = Device("cpu", threads=1, limits=Limits(max_batch, 256, 128))
    device.start()
    lane = await device.lane(clock, examples(max_batch))
    assert sorted(set(clock.sizes)) == buckets
    assert (lane.stats.rows, lane.stats.batches, lane.stats.padded_rows) == (0, 0, 0)  # warm-up is nobody's request
    clock.sizes.clear()
    for rows in (1, *buckets, max_batch):
        np.testing.assert_array_equal(await lane.submit(examples(rows)), examples(rows) ** 2)
    assert clock.sizes == [buckets[0], *buckets, max_batch]
    assert lane.stats.padded_rows == buckets[0] - 1
    await lane.submit(examples(max_batch + 1))
    assert lane.stats.padded_rows == 2 * (buckets[0] - 1)
    await device.close()
