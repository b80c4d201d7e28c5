"""Raw bytes of tensors <-> float32, compared with torch, and bytes that are no tensor."""

import numpy as np
import pytest
import torch

from service.diffusers_remote.tensors import BYTES, FloatType, RawTensor, tensor_bytes
from service.formats.errors import Undecodable, Unusable

TYPES = list(BYTES)


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", TYPES)
def test_every_finite_number_of_16_bits_is_read_and_written_as_torch_does(dtype: FloatType) -> None:
    bits = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
    numbers = bits.view(torch.float16 if dtype == "float16" else torch.bfloat16).to(getattr(torch, dtype))
    numbers = numbers[numbers.float().isfinite()]
    read = RawTensor(raw(numbers), numbers.shape, dtype).numbers()
    assert read.dtype == np.float32
    assert read.tobytes() == raw(numbers.float())
    assert tensor_bytes(read, dtype) == raw(numbers)


@pytest.mark.parametrize("dtype", TYPES)
def test_numbers_are_rounded_as_torch_rounds(dtype: FloatType) -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    halves = np.arange(1 << 16, dtype=np.uint32) << 16 | 0x8000  # halfway between two bfloat16
    numbers = np.concatenate([bits, halves, halves + 1, halves - 1]).view(np.float32)
    expected = torch.from_numpy(numbers).to(getattr(torch, dtype))
    written = tensor_bytes(numbers, dtype)
    if dtype == "bfloat16":  # NaNs differ in bits that mean nothing
        finite = ~np.isnan(numbers)
        found = np.frombuffer(written, np.uint16)
        assert (found[finite] == np.frombuffer(raw(expected), np.uint16)[finite]).all()
        assert (found[~finite] == 0x7FC0).all()
    else:
        np.testing.assert_array_equal(np.frombuffer(written, dtype), expected.numpy())


def test_a_tensor_keeps_its_shape_and_order() -> None:
    tensor = torch.arange(24.0).reshape(2, 3, 4)
    assert RawTensor(raw(tensor), (2, 3, 4), "float32").numbers().tolist() == tensor.tolist()


def test_a_transposed_array_is_written_in_the_order_of_its_indices() -> None:
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3).T
    for dtype in TYPES:
        assert RawTensor(tensor_bytes(numbers, dtype), (3, 2), dtype).numbers().tolist() == numbers.tolist()


@pytest.mark.parametrize(
    ("length", "shape", "dtype"),
    [
        (0, (1,), "float32"),
        (15, (1, 2, 2), "float32"),
        (17, (1, 2, 2), "float32"),
        (16, (1, 2, 2), "float16"),
        (8, (1, 2, 2), "float32"),
        (16, (10**12,) * 30, "bfloat16"),  # 10 to the 360 numbers, for which no memory is asked
    ],
)
def test_a_body_that_does_not_fill_the_shape_is_refused(length: int, shape: tuple[int, ...], dtype: FloatType) -> None:
    with pytest.raises(Undecodable, match=f"the body has {length} bytes, but shape"):
        RawTensor(bytes(length), shape, dtype).numbers()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_counted_and_refused(dtype: FloatType, bad: float) -> None:
    tensor = torch.tensor([1.0, bad, 2.0, bad]).to(getattr(torch, dtype))
    with pytest.raises(Unusable, match="2 of the 4 numbers of the tensor are NaN or infinite"):
        RawTensor(raw(tensor), (4,), dtype).numbers()


def test_numbers_too_large_for_float16_become_infinite_as_in_torch() -> None:
    numbers = np.array([7e4, -7e4, 65504.0], np.float32)
    assert tensor_bytes(numbers, "float16") == raw(torch.from_numpy(numbers).half())
