"""Arrays to npy files and back, with numpy or without it: then arrays are nested lists.

The service reads and writes version 1.0 of the format: magic, version, length of the header, a header that is a Python
literal, and the numbers.
"""

import array
import ast
import math
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

try:
    import numpy
except ImportError:  # It is optional.
    numpy = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"\x93NUMPY\x01\x00"
START = len(MAGIC) + 2
TYPES = {"|u1": "B", "<f4": "f"}  # the types of all answers of the service -> those of the module array


def is_array(value: object) -> bool:
    """Return whether a value is an array, of numpy or of a library whose arrays numpy can read."""
    return hasattr(value, "__array__")


def as_pixels(value: Any) -> "NDArray[Any]":
    """Return pictures as an array of numpy, uint8 or floats. Raises TypeError for another type, or if numpy is missing."""
    if numpy is None:
        raise TypeError("pictures as arrays need numpy: pip install 'vae-client[numpy]'")
    found: NDArray[Any] = numpy.asarray(value)
    if found.dtype.kind != "f" and found.dtype != numpy.uint8:
        raise TypeError(f"pixels must be uint8, or floats in [0, 1], not {found.dtype}")
    return found


def stacked(arrays: Sequence["NDArray[Any]"]) -> "NDArray[Any]":
    """Return pictures of one shape as one array. Raises ValueError if the shapes differ."""
    shapes = {(one.shape, one.dtype.str) for one in arrays}
    if len(shapes) > 1:
        (first, second, *_) = (f"{dtype} {shape}" for shape, dtype in sorted(shapes))
        raise ValueError(f"pictures of one request must have one shape and type, not {first} and {second}")
    return numpy.stack(arrays)


def array_file(values: "NDArray[Any]") -> bytes:
    """Return an array as an npy file, floats of any size as float32."""
    descr = "<f4" if values.dtype.kind == "f" else "|u1"
    return b"".join((_header(descr, values.shape), numpy.ascontiguousarray(values, descr).data))


def latents_file(value: Any, shape: tuple[int, ...] = ()) -> tuple[bytes, int]:
    """Return (npy file of float32 (N, D), N) for latents, (N, D) or (D,), arrays or lists. Raises ValueError, TypeError.

    `shape`: that of each latent in the file, whose D numbers are then (N, *shape).
    """
    if numpy is not None:
        if numpy.iscomplexobj(value := numpy.asarray(value)):
            raise TypeError(f"latents must be real numbers, not {value.dtype}")
        z = numpy.atleast_2d(value.astype(numpy.float32))
        return array_file(z.reshape(len(z), *shape) if shape else z), len(z)
    rows = [list(row) for row in value] if len(value) and isinstance(value[0], Sequence) else [list(value)]
    if len({len(row) for row in rows}) != 1:
        raise ValueError("all latents must have the same number of dimensions")
    numbers = array.array("f", [number for row in rows for number in row])
    if sys.byteorder == "big":
        numbers.byteswap()
    return _header("<f4", (len(rows), *(shape or (len(rows[0]),)))) + numbers.tobytes(), len(rows)


def lists(value: Any) -> Any:
    """Return an array as nested lists; lists stay what they are."""
    return value.tolist() if is_array(value) else value


def floats(values: Sequence[Any] | None) -> Any:
    """Return numbers, in lists of any depth, as a float32 array, or as they are without numpy."""
    return values if values is None or numpy is None else numpy.asarray(values, numpy.float32)


def doubles(values: Sequence[Any] | None, missing: float = math.nan) -> Any:
    """Return numbers as a float64 array, or as they are without numpy, with `missing` for each None of a flat list."""
    if values is None:
        return None
    filled = [missing if value is None else value for value in values]
    return filled if numpy is None else numpy.asarray(filled, numpy.float64)


def flags(values: Sequence[Any]) -> Any:
    """Return truth values as an array, or as they are without numpy."""
    return values if numpy is None else numpy.asarray(values, bool)


def parse(file: bytes) -> Any:
    """Return the array of an npy file, writable; nested lists without numpy. Raises ValueError."""
    start = START + int.from_bytes(file[len(MAGIC) : START], "little")
    if not file.startswith(MAGIC):
        raise ValueError("it is not an npy file of version 1.0")
    descr, shape = _parse_header(file[START:start])
    if numpy is not None:
        return numpy.frombuffer(bytearray(file), descr, math.prod(shape), start).reshape(shape)
    numbers = array.array(TYPES[descr], file[start:])
    if sys.byteorder == "big":
        numbers.byteswap()
    return _nested(numbers.tolist(), shape)


def join(arrays: Sequence[Any]) -> Any:
    """Return arrays, or lists, as one, along the first dimension."""
    if numpy is not None:
        return numpy.concatenate(arrays)
    return [row for one in arrays for row in one]


@lru_cache(16)  # Answers have the same shape again and again, and parsing it takes longer than everything else.
def _parse_header(text: bytes) -> tuple[str, tuple[int, ...]]:
    header = ast.literal_eval(text.decode("latin-1").strip())
    descr, shape = header["descr"], header["shape"]
    if descr not in TYPES or header["fortran_order"]:
        raise ValueError(f"it has the type {descr}; known are {', '.join(TYPES)}, in C order")
    return descr, shape


def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(START + len(text) + 1) % 64) + "\n"  # The format wants the numbers to begin at a multiple of 64.
    return MAGIC + len(text).to_bytes(2, "little") + text.encode()


def _nested(numbers: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Return a flat list as nested lists of a shape."""
    for size in shape[:0:-1]:
        numbers = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    return numbers
