"""Open npz, npy and IDX files and read their arrays block by block, so that converted copies of large arrays are never whole.

A file's first bytes say what it is. Pickled objects are never read. Knows nothing of pictures.
"""

import gzip
import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from models.files.regular_file import NotRegular, open_regular
from models.readers.download import DataError
from models.readers.formats import SUFFIXES
from models.readers.path_names import shown

NPY_MAGIC = b"\x93NUMPY"
# Bytes of a block.
BLOCK = 1 << 20
# What the libraries raise for broken files.
BROKEN = (OSError, ValueError, KeyError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile, lzma.LZMAError)
# Types of IDX files (yann.lecun.com/exdb/mnist), all in big endian.
IDX_TYPES = {8: ">u1", 9: ">i1", 0xB: ">i2", 0xC: ">i4", 0xD: ">f4", 0xE: ">f8"}
IDX_STARTS = tuple(bytes([kind]) for kind in IDX_TYPES)
IDX_IMAGES, IDX_LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


@dataclass(frozen=True)
class Stored:
    """One array of a file, which is not read yet. Rows are its first dimension."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int  # of the data
    open: Callable[[], IO[bytes]]

    def __str__(self) -> str:
        return f"{shown(self.name)} {self.dtype} {self.shape}"

    def read(self) -> NDArray[Any]:
        """Return the whole array. Raises the exceptions of `reading`."""
        if self.dtype.hasobject:
            raise ValueError(f"the array {shown(self.name)} holds Python objects, which are not read")
        with self.open() as file:
            _read(file, self.start)
            flat = np.empty(math.prod(self.shape), self.dtype)
            _fill(file, flat)
            _check_end(file)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first row, rows) for all rows in turn, about a megabyte at a time. Raises the exceptions of `reading`."""
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        step = max(1, BLOCK // max(1, size))
        if self.fortran or self.dtype.hasobject:
            whole = self.read()
            yield from ((first, whole[first : first + step]) for first in range(0, len(whole), step))
            return
        with self.open() as file:
            _read(file, self.start)
            for first in range(0, self.shape[0], step):
                rows = np.empty((min(step, self.shape[0] - first), *self.shape[1:]), self.dtype)
                _fill(file, rows.reshape(-1))
                yield first, rows
            _check_end(file)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what broken files raise into DataError with the file's name."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{shown(path)}: no such file") from None
    except NotRegular as error:
        raise DataError(f"{shown(path)} {error.strerror}") from None
    except MemoryError as error:
        raise DataError(f"{shown(path)}: an array is too large for this machine's memory: {error}") from None
    except BROKEN as error:
        raise DataError(f"{shown(path)}: not a complete npz, npy or IDX file with arrays of numbers: {error}") from None


@contextmanager
def open_arrays(path: Path) -> Iterator[dict[str, Stored]]:
    """Yield the arrays of a file by name; a lone array of npy has the name "array". Raises DataError."""
    with reading(path), open_regular(path) as file:
        start = file.read(6)
        file.seek(0)
        if start == NPY_MAGIC:
            yield {"array": _npy("array", lambda: _again(path))}
        elif start[:2] in (b"PK", b""):
            with zipfile.ZipFile(file) as archive:
                yield _members(path, archive)
        elif start[:2] == b"\x1f\x8b" or (start[:2] == b"\0\0" and start[2:3] in IDX_STARTS):
            found = {"images": _idx(path, "images")}
            labels = path.with_name(path.name.replace(IDX_IMAGES, IDX_LABELS))
            if labels != path and labels.exists():
                found["labels"] = _idx(labels, "labels")
            yield found
        else:
            raise ValueError(f"it is neither a zip file nor npy nor IDX; its first bytes are {start!r}")


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, Stored]:
    """Return the arrays of an npz file."""
    names = archive.namelist()
    arrays = [name for name in names if name.endswith(".npy")]
    if not arrays and any(name.lower().endswith(SUFFIXES) for name in names):
        raise DataError(
            f"{shown(path)}: an archive of picture files; unpack it, and give its folder instead; for training as folder:PATH"
        )
    if not arrays:
        raise ValueError(f"it holds no arrays, but {len(names)} other files")

    def opener(name: str) -> Callable[[], IO[bytes]]:
        return lambda: archive.open(name)

    return {name.removesuffix(".npy"): _npy(name.removesuffix(".npy"), opener(name)) for name in arrays}


def _again(path: Path) -> BinaryIO:
    return open_regular(path)


def _npy(name: str, open: Callable[[], IO[bytes]]) -> Stored:
    """Read the header of an npy file."""
    with open() as file:
        head = io.BytesIO(file.read(1 << 16))
    version = np.lib.format.read_magic(head)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"the array {shown(name)} has the npy version {version[0]}.{version[1]}; 1.0 and 2.0 are read")
    try:
        shape, fortran, dtype = readers[version](head)
    except Exception as error:  # numpy parses the header as Python, which may raise anything.
        raise ValueError(f"the header of the array {shown(name)} is not valid ({type(error).__name__})") from None
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"the array {shown(name)} has the shape {shape}")
    return Stored(name, shape, dtype, fortran and len(shape) > 1, head.tell(), open)


def _idx(path: Path, name: str) -> Stored:
    """Read the header of an IDX file, which may be gzipped: zeros, type, number of dimensions, sizes."""

    def open() -> IO[bytes]:
        file = open_regular(path)
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            return file
        unpacked = gzip.GzipFile(fileobj=file)
        unpacked.myfileobj = file  # type: ignore[assignment]  # So that it is closed with the other.
        return cast(IO[bytes], unpacked)

    with open() as file:
        magic = _read(file, 4)
        if magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES:
            raise ValueError(f"{shown(path.name)} is not an IDX file; it starts with {magic!r}")
        sizes = np.frombuffer(_read(file, 4 * magic[3]), ">u4")
    return Stored(name, tuple(sizes.tolist()), np.dtype(IDX_TYPES[magic[2]]), False, 4 + 4 * magic[3], open)


def _read(file: IO[bytes], count: int) -> bytes:
    """Return exactly `count` bytes. Raises EOFError."""
    data = file.read(count)
    while len(data) < count:
        more = file.read(count - len(data))
        if not more:
            raise EOFError("the file ends too early")
        data += more
    return data


def _fill(file: IO[bytes], flat: NDArray[Any]) -> None:
    """Fill a contiguous array from a file. Raises EOFError."""
    if not flat.nbytes:
        return
    view = memoryview(flat.view(np.uint8).data)
    filled = 0
    while filled < len(view):
        data = file.read(min(BLOCK, len(view) - filled))
        if not data:
            raise EOFError(f"the file ends after {filled} of {len(view)} bytes of data")
        view[filled : filled + len(data)] = data
        filled += len(data)


def _check_end(file: IO[bytes]) -> None:
    """Raise ValueError if data follow; reading the end also makes zip and gzip compare their checksums."""
    if file.read(1):
        raise ValueError("more data follow than its header says")
