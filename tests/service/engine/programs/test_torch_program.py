"""Programs: rows of many blocks as one batch of a fixed size, and nothing of it left behind."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.engine.programs.torch_program import Program, TorchProgram, stage

CPU = torch.device("cpu")


def block(size: int, value: float = 1.0) -> NDArray[np.float32]:
    return np.full((size, 3), value, np.float32)


@pytest.mark.parametrize("sizes", [[8], [1], [3, 4], [1, 1, 1, 5]])
def test_rows_are_staged_in_order_and_the_rest_is_zeros(sizes: list[int]) -> None:
    batch = np.full((8, 3), 7, np.float32)
    blocks = [block(size, number + 1) for number, size in enumerate(sizes)]
    assert stage(blocks, batch) == sum(sizes)
    np.testing.assert_array_equal(batch[: sum(sizes)], np.concatenate(blocks))
    np.testing.assert_array_equal(batch[sum(sizes) :], 0)


@pytest.mark.parametrize("sizes", [[1], [3, 4], [8]])
def test_answers_are_those_of_the_rows_without_the_padding(sizes: list[int]) -> None:
    program: Program = TorchProgram(lambda x: x * 2, CPU, block(8))
    blocks = [block(size, number + 1) for number, size in enumerate(sizes)]
    np.testing.assert_array_equal(program(blocks, 8), 2 * np.concatenate(blocks))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_function_sees_the_bucket_with_zeros_behind_the_rows_in_their_type(dtype: type[np.generic]) -> None:
    seen: list[NDArray[np.generic]] = []

    def note(x: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        seen.append(x.numpy().copy())
        return x * 1

    program = TorchProgram(note, CPU, np.ones((8, 2), dtype))
    program([np.full((8, 2), 7, dtype)], 8)
    program([np.full((3, 2), 9, dtype)], 4)
    assert [(rows.dtype.type, rows.shape) for rows in seen] == [(dtype, (8, 2)), (dtype, (4, 2))]
    np.testing.assert_array_equal(seen[-1], [[9, 9]] * 3 + [[0, 0]])


def test_an_answer_is_not_overwritten_by_the_next_batch() -> None:
    """Also when the function gives back what it was given."""
    program = TorchProgram(lambda x: x, CPU, block(8))
    first = program([block(2)], 8)
    program([block(2, 0)], 8)
    np.testing.assert_array_equal(first, block(2))
