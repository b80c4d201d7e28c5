"""Buckets: batch size and padding leave every answer bit-identical, and only buckets that do so are used."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import models
from service.engine import buckets
from service.engine.buckets import BucketedProgram, NotInvariant, Steps, T, smaller_buckets
from service.engine.programs.torch_program import TorchProgram
from service.latents import noise as seeds

Function = Callable[[Tensor], Tensor]
Rows = NDArray[np.float32]

CPU = torch.device("cpu")


def examples(rows: int, width: int = 3) -> Rows:
    return seeds.standard_normal(1, rows, width)


def operation_of(function: Function, rows: Rows) -> BucketedProgram:
    return BucketedProgram(TorchProgram(function, CPU, rows), rows)


def at_once(steps: Steps[T]) -> T:
    """Run all steps of a check at once and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


def square(x: Tensor) -> Tensor:
    return x * x


def decoder(weights: Path, name: str) -> tuple[Function, int]:
    vae = models.load(weights / name)
    return lambda z: vae.decode(z).mean, vae.config.latent_dim


# --- one answer, whatever the batch


@pytest.mark.parametrize("name", ["grey", "colour"])
def test_rows_are_bit_identical_in_every_bucket_and_place(weights: Path, name: str) -> None:
    function, dim = decoder(weights, name)
    operation = operation_of(function, examples(32, dim))
    reference = at_once(operation.check_reference()).answers
    operation.bucket_seconds = dict.fromkeys([8, 16, 24, 32], 0.0)
    rows = examples(32, dim)
    for count in (1, 2, 3, 7, 8, 9, 17, 31, 32):
        for start in (0, 32 - count):
            (answer,) = operation([rows[start : start + count]])
            np.testing.assert_array_equal(answer, reference[start : start + count], f"{count} rows from {start}")


def test_rows_come_back_block_by_block() -> None:
    operation = operation_of(square, examples(32))
    blocks = [np.full((size, 3), size, np.float32) for size in (1, 4, 6)]
    for block, answer in zip(blocks, operation(blocks), strict=True):
        np.testing.assert_array_equal(answer, block * block)


@pytest.mark.parametrize(
    ("rows", "bucket", "seconds"), [(1, 8, 0.1), (8, 8, 0.1), (9, 16, 0.2), (16, 16, 0.2), (17, 32, 0.3), (32, 32, 0.3)]
)
def test_rows_are_computed_in_the_smallest_bucket_that_holds_them(rows: int, bucket: int, seconds: float) -> None:
    seen: list[int] = []

    def note(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x * 1

    operation = operation_of(note, examples(32))
    operation.bucket_seconds = {8: 0.1, 16: 0.2, 32: 0.3}
    operation([examples(rows)])
    assert (operation.bucket(rows), operation.padding(rows), operation.seconds(rows)) == (bucket, bucket - rows, seconds)
    assert seen == [bucket]


# --- buckets


@pytest.mark.parametrize(
    ("reference", "sizes"),
    [
        (1, []),
        (8, [4, 2, 1]),
        (16, [8, 4, 2, 1]),
        (24, [16, 8, 4, 2, 1]),
        (40, [32, 24, 16, 8, 4, 2, 1]),
        (64, [48, 32, 24, 16, 8, 4, 2, 1]),
        (128, [96, 64, 48, 32, 24, 16, 8, 4, 2, 1]),
    ],
)
def test_smaller_buckets_are_tried_from_the_largest_on(reference: int, sizes: list[int]) -> None:
    assert smaller_buckets(reference) == sizes


class RowClock:
    """A clock that goes by the rows that a function was given, instead of by seconds."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.rows = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return self._function(x)

    def perf_counter(self) -> float:
        return float(self.rows)


def buckets_of(function: Function, monkeypatch: pytest.MonkeyPatch, tried: tuple[int, ...] = (16, 8)) -> dict[int, float]:
    clock = RowClock(function)
    monkeypatch.setattr("service.engine.buckets.time", clock)
    operation = operation_of(clock, examples(32))
    reference = at_once(operation.check_reference())
    for bucket in tried:
        at_once(operation.try_bucket(bucket, reference))
    return operation.bucket_seconds


def test_a_bucket_that_is_equal_and_faster_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(buckets_of(square, monkeypatch).items()) == [(8, 8.0), (16, 16.0), (32, 32.0)]


@pytest.mark.parametrize("differing", [8, 16])
def test_a_bucket_that_differs_from_the_reference_is_not_used(monkeypatch: pytest.MonkeyPatch, differing: int) -> None:
    def function(x: Tensor) -> Tensor:
        return x + (1e-6 if len(x) == differing else 0)

    assert list(buckets_of(function, monkeypatch)) == sorted({8, 16, 32} - {differing})


@pytest.mark.parametrize("row", [0, 7, 21])
def test_a_bucket_that_differs_for_one_row_alone_is_not_used(monkeypatch: pytest.MonkeyPatch, row: int) -> None:
    odd = torch.from_numpy(examples(32)[row])

    def function(x: Tensor) -> Tensor:
        return x + 1e-6 * float(len(x) == 8) * (x == odd)

    assert list(buckets_of(function, monkeypatch)) == [16, 32]


@pytest.mark.parametrize("row", range(32))
def test_a_batch_of_one_row_that_differs_for_one_of_the_examples_is_not_used(
    monkeypatch: pytest.MonkeyPatch, row: int
) -> None:
    """As with kernels for single rows, whose other rounding shows in few answers if an answer is one number."""
    odd = torch.from_numpy(examples(32)[row])

    def function(x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True) + 1e-3 * float(len(x) == 1) * (x == odd).all(1, keepdim=True)

    assert list(buckets_of(function, monkeypatch, (16, 1))) == [16, 32]


@pytest.mark.parametrize(
    ("width", "rows", "checked"),
    [(64, 64, 64), (64, 16, 64), (64, 4, 16), (512, 4, 16), (512, 16, 16), (9999, 2, 4), (1, 512, 512)],
)
def test_few_examples_or_answers_of_few_numbers_are_checked_on_crossed_rows(width: int, rows: int, checked: int) -> None:
    given = examples(rows, width)
    reference = at_once(operation_of(square, given).check_reference())
    assert len(reference.rows) == len(np.unique(reference.rows, axis=0)) == checked or width == 1
    np.testing.assert_array_equal(reference.answers, reference.rows**2)
    for first in range(0, checked, rows):  # Each half of a row is that of an example.
        np.testing.assert_array_equal(reference.rows[first : first + rows, : width // 2], given[:, : width // 2])
        np.testing.assert_array_equal(np.sort(reference.rows[first : first + rows], axis=0), np.sort(given, axis=0))


def test_a_batch_of_one_row_that_differs_for_rows_unlike_the_examples_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    known = torch.from_numpy(examples(32))

    def function(x: Tensor) -> Tensor:
        unlike = ~(x[:, None] == known).all(2).any(1, keepdim=True)
        return x.sum(1, keepdim=True) + 1e-3 * float(len(x) == 1) * unlike

    assert list(buckets_of(function, monkeypatch, (16, 1))) == [16, 32]


def test_a_bucket_that_is_not_faster_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.buckets.time", SimpleNamespace(perf_counter=lambda: 0.0))
    operation = operation_of(square, examples(32))
    at_once(operation.try_bucket(16, at_once(operation.check_reference())))
    assert operation.bucket_seconds == {32: 0.0}


def test_not_a_number_equals_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(buckets_of(lambda x: x * float("nan"), monkeypatch)) == [8, 16, 32]


def positional(x: Tensor) -> Tensor:
    return x + torch.arange(len(x))[:, None]


def of_mates(x: Tensor) -> Tensor:
    return x - x.cumsum(0)


@pytest.mark.parametrize("function", [positional, of_mates])
@pytest.mark.parametrize("reference", [8, 32])
def test_an_operation_that_depends_on_the_place_in_the_batch_is_refused(function: Function, reference: int) -> None:
    with pytest.raises(NotInvariant, match=f"batches of {reference}"):
        at_once(operation_of(function, examples(reference)).check_reference())


@pytest.mark.parametrize(("long", "runs"), [(1e9, 2), (0.0, 1)])
def test_a_lone_row_that_takes_long_is_computed_once(monkeypatch: pytest.MonkeyPatch, long: float, runs: int) -> None:
    """A large picture takes a minute on a CPU; its place in the batch cannot matter."""
    monkeypatch.setattr(buckets, "LONG_SECONDS", long)
    seen = list[Tensor]()

    def function(x: Tensor) -> Tensor:
        seen.append(x)
        return square(x)

    operation = operation_of(function, examples(1))
    np.testing.assert_array_equal(at_once(operation.check_reference()).answers, examples(1) ** 2)
    assert len(seen) == runs
    assert operation.seconds(1) > 0
