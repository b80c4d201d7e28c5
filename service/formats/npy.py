"""Converts npy files to arrays and back, and checks headers before trusting them. Knows nothing of models or HTTP."""

import io
import math
import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Undecodable, Unusable, describe

NPY_MAGIC = b"\x93NUMPY"
MAX_NPY_HEADER = 10_000
ADDRESS = re.compile(r" object at 0x[0-9a-f]+")


def npy_array(body: bytes) -> NDArray[Any]:
    """Read one npy array of numbers, without a copy, after checking its header. Raise BadInput."""
    # The file starts with six bytes of magic, two of version, the length of the header, and the header.
    width = 2 if body[6:7] == b"\x01" else 4
    start = 8 + width + int.from_bytes(body[8 : 8 + width], "little")
    try:
        shape, fortran, dtype = _npy_header(body[: min(start, MAX_NPY_HEADER)])
    except KeyError:
        raise Undecodable("the npy file has an unsupported format version; supported are 1.0 and 2.0") from None
    except Exception as error:  # the header is a Python literal, whose parser raises many types
        reason = ADDRESS.sub("", describe(error))  # of objects in this process
        raise Undecodable(f"the header of the npy file is corrupt: {reason}") from None
    if any(type(size) is not int for size in shape):
        raise Undecodable(f"the npy file has the shape {shape}, but sizes must be whole numbers")
    if dtype.kind not in "fiu":
        raise Unusable(f"the npy file has the type {dtype}, but an array of numbers is needed")
    count = math.prod(shape)
    if any(size < 0 for size in shape) or count * dtype.itemsize != len(body) - start:
        raise Undecodable(f"the npy file has {len(body) - start} bytes of data, but its header says {dtype} {shape}")
    try:
        array = np.frombuffer(body, dtype, count, start).reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError) as error:  # more dimensions, or larger ones, than an array can have
        raise Undecodable(f"the npy file has the shape {shape}: {error}") from None
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)


@lru_cache  # callers send arrays of one shape again and again, and parsing the header takes longer than everything else
def _npy_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, whether the order is Fortran's, and the type."""
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read_header(file, max_header_size=MAX_NPY_HEADER)
    return found


def picture_rows(array: NDArray[Any], shape: tuple[int, int, int], any_floats: bool = False) -> NDArray[Any]:
    """Convert pictures (N, H, W) or (N, H, W, C), uint8 or float32, to (N, C, H, W). Raise Unusable.

    Floats must be in [0, 1], unless `any_floats` says that the model has a range of its own.
    """
    height, width, channels = shape
    pictures = array[..., None] if array.ndim == 3 and channels == 1 else array
    if pictures.dtype not in (np.uint8, np.float32) or pictures.ndim != 4 or pictures.shape[1:] != shape:
        wanted = f"uint8 or float32 (N, {height}, {width}, {channels})"
        wanted += f" or (N, {height}, {width})" if channels == 1 else ""
        raise Unusable(f"the pictures are {array.dtype} {array.shape}, the model takes {wanted}")
    if pictures.dtype == np.float32 and not any_floats:
        bad = ~((pictures >= 0) & (pictures <= 1)).all(axis=(1, 2, 3))
        if bad.any():
            raise Unusable("float32 pixels must be finite and in [0, 1]", int(bad.argmax()))
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))


def npy(array: NDArray[Any]) -> bytes:
    """Write an array as an npy file."""
    return b"".join((_start_of_npy(array.shape, array.dtype.str), np.ascontiguousarray(array).data))


@lru_cache
def _start_of_npy(shape: tuple[int, ...], descr: str) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue()
