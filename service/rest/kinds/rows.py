"""Rows of tables in requests and answers: objects in JSON, and CSV."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.kinds.beside import Beside, Metadata
from models.kinds.table import Columns
from models.kinds.table_rows import FileRow, fill
from service.engine.errors import DeadlineExceeded, TooLarge
from service.formats.csv_lines import MOST_CHARACTERS, csv_lines
from service.formats.errors import Unusable
from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.json_types import json_type
from service.rest.bodies import Body
from service.rest.kinds.wire import Wire
from service.rest.negotiation import Format

# The clock is looked at after so many lines.
LINES_A_LOOK = 64


class RowsWire(Wire):
    """Rows travel as JSON objects and as CSV with a header."""

    many: ClassVar[str] = "rows"
    things: ClassVar[str] = "table rows"
    send: ClassVar[str] = 'send {"rows": [{...}]} or CSV'
    shown: ClassVar[str] = '{"row": {...}}'
    formats: ClassVar[tuple[Format, ...]] = ("json", "csv", "png")

    def check(self, value: object, item: int | None = None) -> None:
        if not isinstance(value, dict):
            raise Unusable(f"a row must be an object with a value for each column, not {json_type(value)}", item)

    def takes(self, model: ServedModel) -> dict[str, Any]:
        columns = [
            {
                "name": column.name,
                "type": column.type,
                **({"categories": list(column.categories)} if column.categories else {}),
            }
            for column in model.manifest.preprocessing.columns
        ]
        return super().takes(model) | {"columns": columns}

    def parts(self, model: ServedModel, each: NDArray[np.float64]) -> dict[str, Any]:
        names = model.manifest.preprocessing.names
        columns = [dict(zip(names, row, strict=True)) for row in each.astype(np.float32).tolist()]
        return {"columns": columns, "largest": [names[k] for k in each.argmax(1).tolist()]}

    def reconstructed(
        self,
        model: ServedModel,
        items: RawItems,
        originals: NDArray[Any],
        data: NDArray[Any],
        whole: bool,
        form: Format | None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        spec: Columns = model.manifest.preprocessing
        filled = {"filled": [[spec.names[k] for k in np.flatnonzero(row).tolist()] for row in np.isnan(originals)]}
        rows = data if whole else fill(originals, data)
        sent = () if whole else items.raw
        if form == "csv":
            beside = [item.beside for item in items.raw if isinstance(item, FileRow)]
            return _objects([spec.csv_of(rows, sent, beside)]), filled
        return (_objects(spec.items(rows, sent)) if form == "json" else rows), filled

    def json(self, model: ServedModel, data: NDArray[Any]) -> list[Any]:
        if data.dtype == object:  # made by `reconstructed`
            return list(data)
        found: list[Any] = model.manifest.preprocessing.items(data)
        return found

    def file(self, model: ServedModel, data: NDArray[Any], form: Format) -> bytes:
        text: str = data[0] if data.dtype == object else model.manifest.preprocessing.csv_of(data)
        return text.encode()

    def read_text(self, model: ServedModel, body: Body) -> RawItems:
        return RawItems(_rows_of(model, body, [body.raw]))

    def read_beside(self, model: ServedModel, body: Body, beside: Beside) -> tuple[RawItems, list[str] | None, list[Metadata]]:
        if body.kind != "text":
            raise Unusable(
                "id_column and metadata_columns are for a body of CSV; in JSON each item has its own id and metadata: "
                '{"items": [{"id": "...", "row": {...}, "metadata": {...}}]}'
            )
        rows, is_missing = _rows_of(model, body, [body.raw], beside), model.manifest.preprocessing.is_missing
        texts = {name: [row.beside[name] for row in rows] for name in (rows[0].beside if rows else ())}
        try:
            return RawItems(rows), beside.ids(texts, is_missing), beside.metadata_of(texts, is_missing)
        except ValueError as error:
            raise Unusable(str(error)) from None

    def read_files(self, model: ServedModel, body: Body, files: Sequence[bytes]) -> RawItems:
        return RawItems(_rows_of(model, body, files))


def _rows_of(model: ServedModel, body: Body, files: Sequence[bytes], beside: Beside | None = None) -> list[FileRow]:
    """Return the rows of CSV files, not more than a request may have. Raises BadInput, TooLarge, DeadlineExceeded."""
    spec: Columns = model.manifest.preprocessing
    rows = list[FileRow]()
    for file in files:
        lines = _in_time(csv_lines(file), body.deadline)
        try:
            rows += spec.items_of_csv(lines, body.max_items - len(rows) + 1, MOST_CHARACTERS, beside)
        except ValueError as error:
            item = getattr(error, "item", None)
            raise Unusable(getattr(error, "reason", str(error)), None if item is None else len(rows) + item) from None
        if len(rows) > body.max_items:
            raise TooLarge(len(rows), body.max_items, counted=False)
    return rows


def _in_time(lines: Iterable[str], deadline: float | None) -> Iterator[str]:
    """Yield lines until the deadline. Raises DeadlineExceeded."""
    for number, line in enumerate(lines):
        if number % LINES_A_LOOK == 0 and deadline is not None and time.monotonic() > deadline:
            raise DeadlineExceeded(f"the deadline passed when {number} lines of the CSV had been read")
        yield line


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    found = np.empty(len(values), object)
    found[:] = values
    return found
