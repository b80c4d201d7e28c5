"""Write rows into an open file one after another, in bounded memory. Knows nothing of what else is in the file."""

import math
import os
import shutil
from contextlib import suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.readers.copies import KEY_BYTES, key_of
from models.readers.download import DataError
from models.readers.memory import size_text
from models.readers.path_names import shown

START = 1 << 16  # The rows begin at this byte.
BLOCK = 1 << 22  # So many bytes wait before they are written.
BESIDE = KEY_BYTES + 64  # Beside the bytes of a row, the file has at most about so many for it.


class PackedRows:
    """Rows of bytes in a file; the constructor removes what is in it, and takes the room on the disk.

    `target` is the name of the file for messages. Raises DataError if the disk is full.
    """

    def __init__(self, descriptor: int, target: Path, most: int, shape: tuple[int, ...], what: str) -> None:
        self.shape, self.keys = shape, list[bytes]()
        self._descriptor, self._target, self._what = descriptor, target, what
        self._waiting, self._size, self._end = list[bytes](), 0, START
        self._least, self._most = 255, 0
        os.ftruncate(descriptor, 0)
        needed = START + most * (math.prod(shape) + BESIDE)
        if needed > (free := shutil.disk_usage(target.parent).free):
            raise self._full(needed, free)
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(descriptor, 0, needed)
            except OSError as error:
                if error.errno in (ENOSPC, EDQUOT):
                    raise self._full(needed, free) from None
                # Some file systems cannot take room in advance.

    def add(self, rows: NDArray[np.uint8]) -> None:
        """Add rows, (n, ...)."""
        for row in np.ascontiguousarray(rows):
            self.keys.append(key_of(row))
            self._waiting.append(row.tobytes())
            self._size += row.nbytes
            if self._size >= BLOCK:
                self._flush()

    def all(self) -> NDArray[np.uint8]:
        """Return all rows, mapped from the file."""
        self._flush()
        return mapped(self._descriptor, START, (len(self.keys), *self.shape))

    def extremes(self) -> tuple[int, int]:
        """Return the smallest and the largest value."""
        self._flush()
        return self._least, self._most

    def end(self, tail: bytes, head: bytes) -> None:
        """Write what follows the rows, and what comes before them; the file ends there."""
        self._flush()
        self._write(tail, self._end)
        os.ftruncate(self._descriptor, self._end + len(tail))
        self._write(head, 0)
        os.fsync(self._descriptor)

    def _flush(self) -> None:
        if self._waiting:
            block = b"".join(self._waiting)
            values = np.frombuffer(block, np.uint8)
            self._least, self._most = min(self._least, int(values.min())), max(self._most, int(values.max()))
            self._write(block, self._end)
            self._end += len(block)
            self._waiting, self._size = [], 0

    def _write(self, content: bytes, offset: int) -> None:
        view = memoryview(content)
        while view:
            try:
                written = os.pwrite(self._descriptor, view, offset)
            except OSError as error:
                raise DataError(f"cannot write {shown(self._target)}: {error.strerror}; nothing of it was kept") from None
            view, offset = view[written:], offset + written

    def _full(self, needed: int, free: int) -> DataError:
        return DataError(
            f"{self._what} need {size_text(needed)} on the disk of {shown(self._target)}, {size_text(free)} are free; make "
            "room, name a file on another disk, or choose a smaller --size"
        )


def mapped(file: Any, start: int, shape: tuple[int, ...]) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """Return rows of bytes, mapped from a file: a path or a descriptor. Nothing is read yet."""
    if isinstance(file, int):
        with open(os.dup(file), "rb") as opened:
            return np.memmap(opened, np.uint8, "r", start, shape)
    return np.memmap(file, np.uint8, "r", start, shape)


def removed(path: Path) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        path.unlink()
