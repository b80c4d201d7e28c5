"""Rows of tables in requests and answers: objects in JSON, and CSV."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.kinds.beside import Beside, Metadata
from models.kinds.table import fill
from service.formats.errors import Undecodable, Unusable
from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.json_types import json_type
from service.rest.bodies import Body
from service.rest.kinds.wire import Wire
from service.rest.negotiation import Format


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
        self, model: ServedModel, originals: NDArray[Any], data: NDArray[Any], whole: bool
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        names, missing = model.manifest.preprocessing.names, np.isnan(originals)
        filled = {"filled": [[names[k] for k in np.flatnonzero(row).tolist()] for row in missing]}
        return (data if whole else fill(originals, data)), filled

    def json(self, model: ServedModel, data: NDArray[Any]) -> list[Any]:
        found: list[Any] = model.manifest.preprocessing.items(data)
        return found

    def file(self, model: ServedModel, data: NDArray[Any], form: Format) -> bytes:
        text: str = model.manifest.preprocessing.csv_of(data)
        return text.encode()

    def read_text(self, model: ServedModel, body: Body) -> RawItems:
        return RawItems(rows=_rows_of(model, body.raw))

    def read_beside(self, model: ServedModel, body: Body, beside: Beside) -> tuple[RawItems, list[str] | None, list[Metadata]]:
        if body.kind != "text":
            raise Unusable(
                "id_column and metadata_columns are for a body of CSV; in JSON each item has its own id and metadata: "
                '{"items": [{"id": "...", "row": {...}, "metadata": {...}}]}'
            )
        spec, text = model.manifest.preprocessing, _text_of(body.raw)
        try:
            wanted = beside.of_csv(text, spec.numbers)
            found = RawItems(rows=spec.rows_of_csv(text, wanted))
            ids, metadata = beside.ids(wanted, spec.is_missing), beside.metadata_of(wanted, spec.is_missing)
        except ValueError as error:
            raise Unusable(str(error)) from None
        body.check_count(found)
        return found, ids, metadata

    def read_files(self, model: ServedModel, files: Sequence[bytes]) -> RawItems:
        return RawItems(rows=np.concatenate([_rows_of(model, file) for file in files]))


def _text_of(csv: bytes) -> str:
    try:
        return csv.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Undecodable(f"the CSV is not UTF-8: {error.reason} at byte {error.start}; save it as UTF-8") from None


def _rows_of(model: ServedModel, csv: bytes) -> NDArray[np.float32]:
    try:
        rows: NDArray[np.float32] = model.manifest.preprocessing.rows_of_csv(_text_of(csv))
    except ValueError as error:
        raise Unusable(str(error)) from None
    return rows
