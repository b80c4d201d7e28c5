"""A tensor whose rows lie in a file: what is computed with is read, and no more. Knows nothing of what the rows are.

Rows are read by pread and not through a memory map: pages of a map count as memory of the process, a file that is cut off
meanwhile would kill it, and random rows that are not in the page cache came 18 times as slowly (12 KiB each, on a disk).
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from weakref import finalize

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from models.files.regular_file import open_regular
from models.readers.download import DataError
from models.readers.pack_file import again
from models.readers.path_names import shown

aten = torch.ops.aten
# An index or a slice of at most so many bytes is read at once.
AT_ONCE = 1 << 25
# The disk is told of so many pieces before the first one of them is read, so that it fetches them side by side.
AHEAD = 256
PIECE = 1 << 22  # The bytes of a read.
DEVICE = torch.device("cpu")


class RowFile:
    """Reads rows of bytes from a file that has them one after another. Raises DataError."""

    def __init__(self, x: "np.memmap[Any, np.dtype[np.uint8]]") -> None:
        self.path, self._start = Path(str(x.filename)), x.offset
        self.shape: tuple[int, ...] = x.shape[1:]
        self.size = math.prod(self.shape)
        with open_regular(self.path) as file:
            self._descriptor = os.dup(file.fileno())
        finalize(self, os.close, self._descriptor)

    def read(self, rows: Tensor) -> Tensor:
        """Return rows, int64 (n,) -> uint8 (n, ...)."""
        found = np.empty((len(rows), *self.shape), np.uint8)
        flat, pieces, descriptor = found.reshape(-1), list(self._pieces(rows.numpy())), self._descriptor
        for first in range(0, len(pieces), AHEAD):
            some = pieces[first : first + AHEAD]
            if len(some) > 1 and hasattr(os, "posix_fadvise"):
                for _, offset, size in some:
                    os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_WILLNEED)
            for place, offset, size in some:
                try:
                    data = os.pread(descriptor, size, offset)
                except OSError as error:
                    raise DataError(f"{shown(self.path)}: {error.strerror}") from None
                if len(data) < size:
                    raise DataError(f"{shown(self.path)} was cut off while it was read: {again(self.path)}")
                flat[place : place + size] = np.frombuffer(data, np.uint8)
        return torch.from_numpy(found)

    def _pieces(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """Yield (place in the answer, offset in the file, size) in bytes; rows that are neighbours are read together."""
        starts = np.concatenate([[0], np.flatnonzero(np.diff(rows) != 1) + 1, [len(rows)]]).tolist()
        for start, end in pairwise(starts):
            offset = self._start + int(rows[start]) * self.size if end > start else 0
            for done in range(0, (end - start) * self.size, PIECE):
                yield start * self.size + done, offset + done, min(PIECE, (end - start) * self.size - done)


class FileRows(Tensor):
    """uint8 (N, ...), rows of a file in any order: a tensor for whoever uses it.

    Blocks (`split`), and large slices and indices, are again rows of the file. Smaller ones, and whatever is computed, are
    ordinary tensors on the device.
    """

    file: RowFile
    rows: Tensor
    __torch_function__: ClassVar[Any] = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, file: RowFile, rows: Tensor, device: torch.device = DEVICE) -> "FileRows":
        """Return a tensor without memory of its own; `rows`, int64 (N,) on the CPU, are those of the file."""
        shape = (len(rows), *file.shape)
        with torch.inference_mode(False):  # Torch cannot split a tensor of another mode.
            made: FileRows = Tensor._make_wrapper_subclass(cls, shape, dtype=torch.uint8, device=device)
        made.file, made.rows = file, rows
        return made

    def __init__(self, file: RowFile, rows: Tensor, device: torch.device = DEVICE) -> None:
        """Do nothing: `__new__` has set everything."""

    def read(self) -> Tensor:
        """Return all rows as an ordinary tensor on the device."""
        return self.file.read(self.rows).to(self.device)

    def numpy(self, *, force: bool = False) -> NDArray[Any]:
        """Return all rows as an array."""
        return self.read().numpy(force=force)

    def split(self, split_size: Any, dim: int = 0) -> list[Tensor]:
        """Return blocks of rows, which are not read yet."""
        if dim or not isinstance(split_size, int):
            return list(self.read().split(split_size, dim))
        return [FileRows(self.file, rows, self.device) for rows in self.rows.split(split_size)]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares a function that is no method
        cls, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[Any, Any] | None = None
    ) -> Any:
        """Carry out an operation of torch on the rows that it needs."""
        with torch.inference_mode(False):  # As the rows themselves are no tensor of that mode, nor may be what comes of them.
            return cls._carried_out(func, args, kwargs or {})

    @staticmethod
    def _carried_out(func: Any, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> Any:
        if func in UNREAD and (found := UNREAD[func](*args, **kwargs)) is not None:
            return found
        args, kwargs = tree_map(lambda one: one.read() if isinstance(one, FileRows) else one, (args, kwargs))
        return func(*args, **kwargs)


def rows_of_array(x: NDArray[Any]) -> Tensor:
    """Return rows, (N, ...), as a tensor; if they are mapped from a file, they stay there."""
    return FileRows(RowFile(x), torch.arange(len(x))) if isinstance(x, np.memmap) else torch.from_numpy(x)


def _some(x: FileRows, rows: Tensor) -> Tensor:
    found = FileRows(x.file, rows, x.device)
    return found.read() if len(rows) * x.file.size <= AT_ONCE else found


def _slice(x: FileRows, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor | None:
    return None if dim else _some(x, x.rows[start:end:step])


def _index(x: FileRows, indices: Sequence[Tensor | None]) -> Tensor | None:
    one, *others = indices
    return None if one is None or others or one.dim() != 1 else _some(x, x.rows[one.to(x.rows.device)])


def _index_select(x: FileRows, dim: int, index: Tensor) -> Tensor | None:
    return None if dim else _some(x, x.rows[index.to(x.rows.device)])


def _select(x: FileRows, dim: int, index: int) -> Tensor | None:
    return None if dim else FileRows(x.file, x.rows[index][None], x.device).read()[0]


def _same(x: FileRows) -> Tensor:
    return FileRows(x.file, x.rows, x.device)


def _copy(x: FileRows, dtype: torch.dtype | None = None, device: Any = None, **_layout: Any) -> Tensor | None:
    wanted = x.device if device is None else torch.device(device)
    return FileRows(x.file, x.rows, wanted) if dtype in (None, torch.uint8) else None


# Operations that need not read all rows. They return None if they do; then the rows are read.
UNREAD: dict[Any, Callable[..., Any]] = {
    aten.slice.Tensor: _slice,
    aten.index.Tensor: _index,
    aten.index_select.default: _index_select,
    aten.select.int: _select,
    aten.detach.default: _same,
    aten.alias.default: _same,
    aten._to_copy.default: _copy,
}
