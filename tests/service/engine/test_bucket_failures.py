"""Operations that fail: memory that runs out once, and a device that is lost."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.engine.buckets import BucketedProgram
from service.engine.errors import DeviceLost
from service.engine.programs.torch_program import TorchProgram
from service.latents import noise as seeds

CPU = torch.device("cpu")


def examples(rows: int) -> NDArray[np.float32]:
    return seeds.standard_normal(1, rows, 3)


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


def operation_of(function: Failing, rows: int) -> BucketedProgram:
    return BucketedProgram(TorchProgram(function, CPU, examples(rows)), examples(rows))


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
    operation = operation_of(function, 32)
    operation.bucket_seconds = dict.fromkeys(buckets, 0.0)
    block = examples(rows)
    answers = operation([block[:3], block[3:]])
    np.testing.assert_array_equal(np.concatenate(answers), block * block)
    assert [len(answer) for answer in answers] == [3, rows - 3]
    assert function.sizes == sizes


def test_out_of_memory_twice_is_an_error() -> None:
    function = Failing(*[torch.OutOfMemoryError("CUDA out of memory")] * 2)
    with pytest.raises(torch.OutOfMemoryError):
        operation_of(function, 8)([examples(8)])


@pytest.mark.parametrize("before", [[], [torch.OutOfMemoryError("CUDA out of memory")]])
def test_a_cuda_error_is_a_lost_device(before: list[Exception]) -> None:
    function = Failing(*before, RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"))
    with pytest.raises(DeviceLost, match=r"device is lost: CUDA error: unspecified launch failure$"):
        operation_of(function, 8)([examples(8)])


def test_another_error_is_left_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="sizes differ") as caught:
        operation_of(Failing(RuntimeError("sizes differ")), 8)([examples(8)])
    assert type(caught.value) is RuntimeError
