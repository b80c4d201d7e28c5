"""Recognise the layout of an array of pictures, and bring blocks of it to (n, H, W, C). Ambiguous layouts are refused."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.readers.array_files import Stored
from models.readers.download import DataError
from models.readers.left_out import plural

CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Shape:
    """`kind` names the axes of the array: NHW, NHWC, NCHW, HWN, HWCN or ND (each picture flat)."""

    kind: str
    count: int
    height: int
    width: int
    channels: int

    def to_nhwc(self, rows: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return rows of the array, or for HWN and HWCN the whole array, as (n, H, W, C), perhaps a view."""
        match self.kind:
            case "NHWC":
                return rows
            case "NCHW":
                return rows.transpose(0, 2, 3, 1)
            case "HWN":
                return rows.transpose(2, 0, 1)[..., None]
            case "HWCN":
                return rows.transpose(3, 0, 1, 2)
            case _:
                return rows.reshape(len(rows), self.height, self.width, 1)

    @property
    def is_last(self) -> bool:
        """Return whether the pictures are the last axis."""
        return self.kind.endswith("N") and self.kind != "N"

    def __str__(self) -> str:
        return " x ".join(map(str, (self.height, self.width, self.channels)))


def shape_of(name: str, array: Stored, labels: int | None, wanted: tuple[int, int] | None = None) -> Shape:
    """Return the layout of pictures. `labels` is the number of labels, `wanted` the height and width that a model takes.

    Raises DataError, which starts with `name`, the name of the file.
    """
    found = f"{name}: {array}"
    shape = array.shape
    if not math.prod(shape):
        raise DataError(f"{found} has no pixels")
    if len(shape) == 2:
        side = math.isqrt(shape[1])
        if side * side != shape[1] or shape[0] == shape[1] or side < 8:
            raise DataError(
                f"{found}: neither pictures nor rows of square grey pictures; reshape it to (N, H, W) or (N, H, W, C)"
            )
        return Shape("ND", shape[0], side, side, 1)
    if len(shape) == 3:
        return _grey(found, shape, labels, wanted)
    last, first = shape[3] in CHANNELS, shape[1] in CHANNELS
    if last and first and shape[1] != shape[2] and shape[2] == shape[3]:
        last = False
    elif last and first and shape[1] != shape[2] and wanted != shape[1:3]:
        raise DataError(f"{found}: may be (N, H, W, C) or (N, C, H, W); pad the pictures so that only one axis has 1, 3 or 4")
    if last:
        return Shape("NHWC", shape[0], shape[1], shape[2], shape[3])
    if first:
        return Shape("NCHW", shape[0], shape[2], shape[3], shape[1])
    if shape[2] in CHANNELS and labels == shape[3]:
        return Shape("HWCN", shape[3], shape[0], shape[1], shape[2])
    if shape[2] in CHANNELS:
        raise DataError(f"{found}: looks like (H, W, C, N); make it (N, H, W, C) with np.moveaxis(x, -1, 0)")
    raise DataError(f"{found}: no axis has 1 (grey), 3 (RGB) or 4 (RGBA) channels; should be (N, H, W, C) or (N, C, H, W)")


def _grey(found: str, shape: tuple[int, ...], labels: int | None, wanted: tuple[int, int] | None) -> Shape:
    as_first = Shape("NHW", shape[0], shape[1], shape[2], 1)
    as_last = Shape("HWN", shape[2], shape[0], shape[1], 1)
    if labels is not None and (labels == shape[0]) != (labels == shape[2]):
        return as_first if labels == shape[0] else as_last
    if wanted is not None and (wanted == shape[1:]) != (wanted == shape[:2]):
        return as_first if wanted == shape[1:] else as_last
    if shape[2] in (3, 4) and min(shape[:2]) >= 8:
        raise DataError(
            f"{found}: looks like one picture in colour, or pictures {shape[2]} wide; make it (N, H, W, C), such as x[None]"
        )
    if shape[0] == shape[1] != shape[2]:
        raise DataError(
            f"{found}: may be {plural(shape[2], 'picture')} of {shape[0]} x {shape[1]} (H, W, N), "
            f"or {shape[0]} of {shape[1]} x {shape[2]} (N, H, W); "
            "make it unambiguous: np.moveaxis(x, -1, 0)[..., None] or x[..., None]"
        )
    return as_first
