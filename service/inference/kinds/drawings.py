"""Drawings: sequences of points, which may also be sent as SVG. Knows nothing of HTTP."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.drawings.svg_file import SvgError, read_svg
from models.kinds.strokes import StrokeFormat
from models.readers.found import Found
from service.formats.errors import Undecodable, Unusable
from service.formats.raw_items import RawItems
from service.inference.deadline import in_time
from service.inference.kinds.sequences import ServedSequences

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline

# Reading a byte of SVG takes about as long as parsing so many bytes of JSON.
BYTES_PER_BYTE = 1024
# SVGs of about so many bytes are read before the deadline is looked at again: 50 ms.
BYTES_A_TURN = 8192
LATE = "the deadline passed while SVG was read; send fewer or simpler drawings, or allow more time"


class ServedDrawings(ServedSequences):
    """A model of drawings. Raw items are stroke-3 lists, or SVG files or path data as text or bytes."""

    def read(self, path: Path) -> Found:
        from models.readers.strokes import read_strokes  # only for loading

        return read_strokes(path, model=self.manifest.preprocessing)

    async def made(self, pipeline: "Pipeline", items: RawItems, inference: "Inference") -> NDArray[Any]:
        raw: list[Any] = []
        for part, size in _turns(items.raw):
            work = partial(self._points, items, len(raw), len(part))
            raw += await in_time(pipeline.offload(BYTES_PER_BYTE * size, work), inference.deadline, LATE)
        return await super().made(pipeline, RawItems(raw, alone=items.alone), inference)

    def _points(self, items: RawItems, first: int, count: int) -> list[Any]:
        """Return some of the items as points. Raises BadInput."""
        return [
            _fitted(self.manifest.preprocessing, one, None if items.alone else i) if isinstance(one, (str, bytes)) else one
            for i, one in enumerate(items.raw[first : first + count], first)
        ]

    def look_at(self, rows: NDArray[Any], items: RawItems, inference: "Inference") -> None:
        for item in np.flatnonzero(~rows[..., :2].any((1, 2))).tolist():
            inference.warnings.add(item, "blank", "all points of the drawing are at one place, so it has no shape")


def _turns(raw: Sequence[Any]) -> Iterator[tuple[Sequence[Any], int]]:
    """Return items in parts, each with the bytes of its SVGs, which are not many in all unless one alone has them."""
    first = size = 0
    for i, one in enumerate(raw):
        size += len(one) if isinstance(one, (str, bytes)) else 0
        if size >= BYTES_A_TURN or i == len(raw) - 1:
            yield raw[first : i + 1], size
            first, size = i + 1, 0


def _fitted(spec: StrokeFormat, svg: str | bytes, item: int | None) -> list[list[float]]:
    """Return the points of an SVG, at the size of the training drawings. Raises BadInput."""
    try:
        lines = read_svg(svg).polylines
    except SvgError as error:
        raise Undecodable(str(error), item) from None
    if not lines:
        raise Unusable("the SVG has no lines", item)
    try:
        return spec.fitted(lines)
    except ValueError as error:
        raise Unusable(str(error), item) from None
