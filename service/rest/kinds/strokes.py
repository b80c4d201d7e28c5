"""Drawings in requests and answers: points in JSON, and SVG."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Unusable
from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.json_types import json_type
from service.rest.bodies import Body
from service.rest.kinds.wire import Wire
from service.rest.negotiation import Format

# The side of each of several drawings in one SVG.
SIDE = 256


class StrokesWire(Wire):
    """Drawings travel as lists of points [dx, dy, pen], as SVG files, and as path data."""

    many: ClassVar[str] = "strokes"
    things: ClassVar[str] = "drawings"
    send: ClassVar[str] = 'send {"strokes": [[[dx, dy, pen], ...]]} or SVG'
    shown: ClassVar[str] = '{"sketch": [[dx, dy, pen], ...]}'
    formats: ClassVar[tuple[Format, ...]] = ("json", "svg", "png")

    def check(self, value: object, item: int | None = None) -> None:
        if not isinstance(value, (list, str)):
            raise Unusable(f"a drawing must be a list of points [dx, dy, pen], or SVG as text, not {json_type(value)}", item)

    def takes(self, model: ServedModel) -> dict[str, Any]:
        return super().takes(model) | {"max_length": model.manifest.preprocessing.max_length}

    def json(self, model: ServedModel, data: NDArray[Any]) -> list[Any]:
        found: list[Any] = model.manifest.preprocessing.items(data)
        return found

    def file(self, model: ServedModel, data: NDArray[Any], form: Format) -> bytes:
        files: list[str] = model.manifest.preprocessing.svgs(data)
        return (files[0] if len(files) == 1 else _beside(files)).encode()

    def read_text(self, model: ServedModel, body: Body) -> RawItems:
        return RawItems([body.raw], alone=True)

    def read_files(self, model: ServedModel, body: Body, files: Sequence[bytes]) -> RawItems:
        return RawItems(files)


def _beside(files: Sequence[str]) -> str:
    """Return one SVG with several in a grid that is nearly square."""
    columns = int(np.ceil(np.sqrt(len(files))))
    height = SIDE * -(-len(files) // columns)
    placed = []
    for i, file in enumerate(files):
        place = f'x="{SIDE * (i % columns)}" y="{SIDE * (i // columns)}"'
        placed.append(file.replace("<svg ", f"<svg {place} ", 1))
    size = f'viewBox="0 0 {SIDE * columns} {height}" width="{SIDE * columns}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{"".join(placed)}</svg>\n'
