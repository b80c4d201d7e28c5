"""Drawings: sequences of points, which may also be sent as SVG. Knows nothing of HTTP."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from models.drawings.svg_file import SvgError, read_svg
from models.kinds.strokes import StrokeFormat
from models.readers.found import Found
from service.formats.errors import Undecodable, Unusable
from service.formats.raw_items import RawItems
from service.inference.kinds.sequences import ServedSequences


class ServedDrawings(ServedSequences):
    """A model of drawings. Raw items are stroke-3 lists, or SVG files or path data as text or bytes."""

    def read(self, path: Path) -> Found:
        from models.readers.strokes import read_strokes  # only for loading

        return read_strokes(path, model=self.manifest.preprocessing)

    def rows_of(self, items: RawItems) -> NDArray[Any]:
        raw = [
            _fitted(self.manifest.preprocessing, one, None if items.alone else i) if isinstance(one, (str, bytes)) else one
            for i, one in enumerate(items.raw)
        ]
        return super().rows_of(RawItems(raw, alone=items.alone))


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
