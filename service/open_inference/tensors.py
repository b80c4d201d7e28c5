"""Tensors of requests and answers: JSON lists or binary data <-> arrays, with all sizes checked.

Knows nothing of models.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engine.errors import TooLarge
from service.json_types import json_type
from service.observe.printable import short
from service.open_inference.datatypes import BF16, BYTES, DATATYPES, FLOATS, NUMBERS, ONLY_BINARY, WHOLE
from service.open_inference.errors import BadRequest

# More dimensions than any tensor here has.
MOST_DIMENSIONS = 8
LENGTH_BYTES = 4  # of the length before each element of binary BYTES
SHOWN = 8  # sizes of a shape in a message


@dataclass(slots=True)
class Tensor:
    """A tensor: numbers as an array, or BYTES as a list of elements in the order of the shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    numbers: NDArray[Any]
    elements: Sequence[bytes] = ()


NO_NUMBERS: NDArray[Any] = np.zeros(0, np.uint8)


def numbers(name: str, datatype: str, array: NDArray[Any]) -> Tensor:
    """Return a tensor of numbers for an answer."""
    return Tensor(name, datatype, array.shape, np.ascontiguousarray(array, NUMBERS[datatype]))


def strings(name: str, elements: Sequence[bytes], shape: tuple[int, ...] | None = None) -> Tensor:
    """Return a tensor of BYTES for an answer."""
    return Tensor(name, BYTES, (len(elements),) if shape is None else shape, NO_NUMBERS, elements)


def checked_shape(name: str, datatype: object, shape: object, max_items: int) -> tuple[int, ...]:
    """Return the shape of an input whose first dimension counts items. Raises BadRequest, TooLarge."""
    if datatype not in DATATYPES:
        raise BadRequest(f"input {name!r}: the datatype must be one of {', '.join(DATATYPES)}, not {short(datatype)}")
    if not isinstance(shape, list) or not shape or len(shape) > MOST_DIMENSIONS:
        raise BadRequest(f"input {name!r}: the shape must be a list of 1 to {MOST_DIMENSIONS} sizes, not {_shown(shape)}")
    if any(type(size) is not int or size < 0 for size in shape):
        raise BadRequest(f"input {name!r}: the sizes of a shape must be whole numbers from 0, not {_shown(shape)}")
    if 0 in shape:
        raise BadRequest(f"input {name!r} is empty: it has the shape {_shown(shape)}; at least one element is needed")
    if datatype == BYTES and math.prod(shape) > max_items:
        raise TooLarge(math.prod(shape), max_items)
    return tuple(shape)


def from_binary(name: str, datatype: str, shape: tuple[int, ...], data: memoryview) -> Tensor:
    """Return a tensor of binary data. Raises BadRequest unless the data have exactly the size of the shape."""
    count = math.prod(shape)
    if datatype == BYTES:
        return Tensor(name, datatype, shape, NO_NUMBERS, _elements(name, count, shape, data))
    dtype = NUMBERS[datatype]
    if len(data) != count * dtype.itemsize:
        raise BadRequest(
            f"input {name!r}: the binary data have {len(data)} bytes, but {datatype} {_shown(shape)} has "
            f"{count * dtype.itemsize}"
        )
    array = np.frombuffer(data, dtype).reshape(shape)
    if datatype == BF16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return Tensor(name, datatype, shape, _finite(name, datatype, array))


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: object) -> Tensor:
    """Return a tensor of a JSON list, nested or flat. Raises BadRequest unless it has as many elements as the shape."""
    if datatype in ONLY_BINARY:
        raise BadRequest(f"input {name!r}: {datatype} cannot be sent as JSON; send it as binary data, or send FP32")
    flat = _flat(name, data)
    count = math.prod(shape)
    if len(flat) != count:
        raise BadRequest(f"input {name!r}: data has {len(flat)} elements, but the shape {_shown(shape)} has {count}")
    kinds = set(map(type, flat))
    allowed: set[type] = {str} if datatype == BYTES else {bool} if datatype == "BOOL" else {int}
    if datatype in FLOATS:
        allowed = {int, float}
    if kinds - allowed:
        other = next(one for one in flat if type(one) not in allowed)
        raise BadRequest(f"input {name!r}: data of {datatype} cannot have {short(other)}")
    if datatype == BYTES:
        return Tensor(name, datatype, shape, NO_NUMBERS, _encoded(name, flat))
    try:
        wide = np.array(flat, np.float64 if datatype in FLOATS else np.uint64 if datatype == "UINT64" else np.int64)
    except OverflowError:
        raise BadRequest(f"input {name!r}: data has numbers that {datatype} cannot hold") from None
    dtype = NUMBERS[datatype]
    if datatype in WHOLE and (wide.astype(dtype) != wide).any():
        raise BadRequest(f"input {name!r}: data has numbers that {datatype} cannot hold")
    with np.errstate(over="ignore"):
        array = wide.astype(dtype).reshape(shape)
    return Tensor(name, datatype, shape, _finite(name, datatype, array))


def to_binary(tensor: Tensor) -> bytes:
    """Return the binary data of a tensor of an answer."""
    if tensor.datatype != BYTES:
        return tensor.numbers.tobytes()
    return b"".join(part for one in tensor.elements for part in (len(one).to_bytes(LENGTH_BYTES, "little"), one))


def to_json(tensor: Tensor) -> NDArray[Any] | list[str]:
    """Return the elements of a tensor of an answer for JSON, in one list. BYTES of answers are always text."""
    if tensor.datatype != BYTES:
        return tensor.numbers.reshape(-1)
    return [one.decode() for one in tensor.elements]


def _elements(name: str, count: int, shape: tuple[int, ...], data: memoryview) -> list[bytes]:
    """Return the elements of binary BYTES, each of which has its length before it."""
    found, place = list[bytes](), 0
    while place < len(data) and len(found) <= count:
        start = place + LENGTH_BYTES
        end = start + int.from_bytes(data[place:start], "little")
        if start > len(data) or end > len(data):
            raise BadRequest(
                f"input {name!r}: element {len(found)} ends at byte {end} of the binary data, which have {len(data)} bytes; "
                "each element of BYTES has its length before it, 4 bytes, little-endian"
            )
        found.append(bytes(data[start:end]))
        place = end
    if len(found) != count or place != len(data):
        more = "more than " if len(found) > count else ""
        raise BadRequest(
            f"input {name!r}: the binary data have {more}{min(len(found), count)} elements, but the shape {_shown(shape)} has "
            f"{count}"
        )
    return found


def _flat(name: str, data: object) -> list[Any]:
    """Return the elements of nested lists in one list. Raises BadRequest if they are not nested alike."""
    if not isinstance(data, list):
        raise BadRequest(f"input {name!r}: data must be a list, not {json_type(data)}")
    flat = data
    for _ in range(MOST_DIMENSIONS):
        kinds = set(map(type, flat))
        if list not in kinds:
            return flat
        if kinds != {list}:
            break
        flat = list(chain.from_iterable(flat))
    raise BadRequest(f"input {name!r}: the lists in data are not nested alike")


def _encoded(name: str, texts: list[str]) -> list[bytes]:
    try:
        return [text.encode() for text in texts]
    except UnicodeEncodeError:  # half of a surrogate pair
        raise BadRequest(f"input {name!r}: data has text that is not Unicode") from None


def _finite(name: str, datatype: str, array: NDArray[Any]) -> NDArray[Any]:
    if datatype in FLOATS and not np.isfinite(array).all():
        raise BadRequest(f"input {name!r} has numbers that are not finite: NaN or infinity as {datatype}")
    return array


def _shown(shape: object) -> str:
    if not isinstance(shape, (list, tuple)):
        return json_type(shape)
    sizes = ", ".join(map(short, shape[:SHOWN]))
    return f"[{sizes}{', ...' if len(shape) > SHOWN else ''}]"
