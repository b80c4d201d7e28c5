"""Raw bytes of tensors <-> float32 arrays, without torch. Knows nothing of requests or of models.

A tensor travels as its numbers in the order of memory, little-endian; its shape and its type travel beside it.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Undecodable, Unusable

Floats = NDArray[np.float32]
# Types of floats that tensors are sent in, by the names that torch gives them. numpy has no bfloat16: it is read as its bits.
FloatType = Literal["float16", "bfloat16", "float32"]
BYTES: dict[FloatType, int] = {"float16": 2, "bfloat16": 2, "float32": 4}
# What to do instead of sending other types.
TYPE_HINTS = {
    "float64": "send the tensor as float()",
    "uint8": "send floats from -1 to 1, that is bytes / 127.5 - 1, or a PIL picture",
}
# A bfloat16 is the upper half of the float32 with the same value.
LOWER_BITS = 16


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A tensor as it was sent: its shape may be any positive whole numbers, whatever the length of the body."""

    body: bytes
    shape: tuple[int, ...]
    dtype: FloatType

    def numbers(self) -> Floats:
        """Return the numbers as float32, in their shape. Raises Undecodable, Unusable."""
        size, expected = BYTES[self.dtype], BYTES[self.dtype] * math.prod(self.shape)
        if len(self.body) != expected:
            raise Undecodable(
                f"the body has {len(self.body)} bytes, but shape {list(self.shape)} of {self.dtype} needs {expected}, "
                f"{size} for each number"
            )
        if self.dtype == "bfloat16":
            numbers = (np.frombuffer(self.body, "<u2").astype(np.uint32) << LOWER_BITS).view(np.float32)
        else:
            numbers = np.frombuffer(self.body, np.dtype(self.dtype).newbyteorder("<")).astype(np.float32)
        check_finite(numbers, "the tensor")
        return numbers.reshape(self.shape)


def check_finite(numbers: Floats, what: str) -> None:
    """Raise Unusable if any number is NaN or infinite, and say how many are."""
    bad = numbers.size - int(np.isfinite(numbers).sum())
    if bad:
        raise Unusable(f"{bad} of the {numbers.size} numbers of {what} are NaN or infinite; all must be finite")


def tensor_bytes(numbers: Floats, dtype: FloatType) -> bytes:
    """Return the bytes of a tensor in a type, rounded to the nearest number of that type, ties to even.

    Numbers too large for a type become infinite, as in torch.
    """
    if dtype == "bfloat16":
        return _bfloat16(numbers).astype("<u2", copy=False).tobytes()
    with np.errstate(over="ignore"):
        return numbers.astype(np.dtype(dtype).newbyteorder("<"), copy=False).tobytes()


def _bfloat16(numbers: Floats) -> NDArray[Any]:
    whole = np.ascontiguousarray(numbers)
    bits = whole.view(np.uint32)
    rounded = (bits >> LOWER_BITS) & 1  # the lowest bit that remains: halves go to the even number
    rounded += 0x7FFF
    rounded += bits
    rounded >>= LOWER_BITS
    nan = np.isnan(whole)
    if nan.any():
        rounded[nan] = 0x7FC0  # Rounding could carry a NaN over to a number.
    return rounded
