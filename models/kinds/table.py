"""Tables: rows are float32 (K,), one entry per column: standardised numbers, the index of a category, NaN where missing.

`Table.preprocessing` gives the columns, with which the service and the reports turn dicts and CSV into rows and back, and
the parameters that a decoder answers (`models.kinds.table_likelihood`) into rows. Knows nothing of nets, files or HTTP.
"""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.kinds.column import BadCell, Column, Value, listed
from models.kinds.csv_text import column_names, delimiter_of, records
from models.kinds.kind import Kind, Shape
from models.kinds.table_likelihood import Parameters

if TYPE_CHECKING:
    from torch import Tensor

Rows = NDArray[np.float32]
Item = dict[str, Value]  # the cells of one row by the names of their columns; None where a cell is missing

MOST_COLUMNS = 10_000
MISSING = ("", "NA", "N/A", "NaN", "null", "?")  # in any case: "na" too
MOST_REMARKS = 20


class BadRow(ValueError):
    """A row cannot be used. `item` counts from 0; None: all of them, because the names of the columns are wrong."""

    def __init__(self, reason: str, item: int | None = None, where: str = "") -> None:
        super().__init__(reason if item is None else f"row {item}{where}: {reason}")
        self.reason, self.item = reason, item


@dataclass(frozen=True)
class Columns:
    """The preprocessing of a table: its columns, and what else of a file is known.

    `missing` are the texts that mean a missing cell, `left_out` columns that are ignored where they are given, and `label`
    the column of labels, which is no part of a row. Its constructor raises ValueError.
    """

    columns: tuple[Column, ...]
    missing: Sequence[str] = MISSING
    left_out: Sequence[str] = ()
    label: str | None = None
    decimal: str = "."

    def __post_init__(self) -> None:
        if not isinstance(self.columns, (list, tuple)) or not 0 < len(self.columns) <= MOST_COLUMNS:
            raise ValueError(f"columns must be a list of 1 to {MOST_COLUMNS}, not {short_repr(self.columns)}")
        object.__setattr__(self, "columns", tuple(map(_column, self.columns)))
        for name in ("missing", "left_out"):
            texts = getattr(self, name)
            if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
                raise ValueError(f"{name} must be a list of texts, not {short_repr(texts)}")
            object.__setattr__(self, name, tuple(texts))
        if self.label is not None and not isinstance(self.label, str):
            raise ValueError(f"label must be the name of a column, not {short_repr(self.label)}")
        if self.decimal not in (".", ","):
            raise ValueError(f"decimal must be '.' or ',', not {short_repr(self.decimal)}")
        if len(self.numbers) != len(self.columns):
            raise ValueError("two columns have the same name")

    @property
    def shape(self) -> Shape:
        """Return (K,)."""
        return (len(self.columns),)

    @property
    def names(self) -> list[str]:
        """Return the names of the columns, in the order of a row's entries."""
        return [column.name for column in self.columns]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Return the number of each column by its name."""
        return {column.name: k for k, column in enumerate(self.columns)}

    @cached_property
    def parameters(self) -> Parameters:
        """Return what turns the parameters that a decoder answers, (N, P), into rows and nats."""
        return Parameters(self.columns)

    def stored(self) -> dict[str, Any]:
        """Return what config.json holds."""
        found: dict[str, Any] = {"columns": [column.stored() for column in self.columns]}
        for name, default in (("missing", MISSING), ("left_out", ()), ("label", None), ("decimal", ".")):
            if (value := getattr(self, name)) != default:
                found[name] = list(value) if isinstance(value, tuple) else value
        return found

    def is_missing(self, cell: object) -> bool:
        """Return whether a cell is missing: None, NaN, or one of the texts that mean it."""
        return cell is None or cell != cell or (isinstance(cell, str) and cell.strip().lower() in self._missing)

    def rows(self, items: Sequence[Mapping[str, object]]) -> Rows:
        """Return the rows of dicts, (N, K); a column that is not given is missing. Raises BadRow."""
        found = np.full((len(items), len(self.columns)), np.nan, np.float32)
        for i, item in enumerate(items):
            if not isinstance(item, Mapping):
                raise BadRow(f"must be an object such as {self.example()}, not {short_repr(item)}", i)
            for name, cell in item.items():
                if (k := self.numbers.get(name)) is not None:
                    found[i, k] = self._entry(k, cell, i)
                elif name not in self.left_out and name != self.label:
                    raise BadRow(self._unknown(name), i)
        return found

    def rows_of_csv(self, text: str, ignored: Collection[str] = ()) -> Rows:
        """Return the rows of CSV with a header, (N, K). The delimiter is found as in training. Raises BadRow, BadCsv.

        `ignored` are columns that the model need not know.
        """
        lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
        delimiter = delimiter_of(lines)
        lines.seek(0)
        found = records(lines, delimiter)
        _, header = next(found, (0, []))
        if not header:
            raise BadRow(f"the CSV is empty: it needs a line with the names of columns, such as {','.join(self.names[:3])}")
        names = column_names(header)
        places = [self.numbers.get(name) for name in names]
        for name, k in zip(names, places, strict=True):
            if k is None and name not in self.left_out and name != self.label and name not in ignored:
                raise BadRow(self._unknown(name))
        rows = list[Rows]()
        for i, (line, cells) in enumerate(found):
            if len(cells) != len(names):
                raise BadRow(f"has {len(cells)} cells, the header names {len(names)} columns", i, f" (line {line})")
            row = np.full(len(self.columns), np.nan, np.float32)
            for k, cell in zip(places, cells, strict=True):
                if k is not None:
                    row[k] = self._entry(k, cell, i, f" (line {line})")
            rows.append(row)
        return np.stack(rows) if rows else np.empty((0, len(self.columns)), np.float32)

    def items(self, rows: Rows) -> list[Item]:
        """Return rows as dicts, None for NaN: (N, K) -> N. Booleans are true and false, categories text."""
        return [
            {column.name: column.value_of(entry) for column, entry in zip(self.columns, row, strict=True)}
            for row in np.asarray(rows, np.float64).tolist()
        ]

    def csv_of(self, rows: Rows) -> str:
        """Return rows as CSV with a header, commas between the cells, and "" for NaN."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.names)
        for row in np.asarray(rows, np.float64).tolist():
            writer.writerow([column.text_of(entry) for column, entry in zip(self.columns, row, strict=True)])
        return out.getvalue()

    def remarks(self, rows: Rows) -> list[str]:
        """Return a warning for each number that is far outside of the range of the training rows, MOST_REMARKS at most."""
        found = list[str]()
        for i, k in np.argwhere(~np.isnan(rows)).tolist():
            column, entry = self.columns[k], float(rows[i, k])
            if column.is_far(entry) and len(found) < MOST_REMARKS:
                ends = f"{column.low:g} to {column.high:g}"
                found.append(
                    f"row {i}: column {column.name!r}: {column.raw(entry):g} is far outside of {ends}, the range of the "
                    "training rows"
                )
        return found

    def example(self) -> str:
        """Return a row as JSON-like text, for messages."""
        ends = [(column.name, column.value_of(0.0)) for column in self.columns[:2]]
        return "{" + ", ".join(f'"{name}": {value!r}' for name, value in ends) + (", ...}" if len(self.columns) > 2 else "}")

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset(text.lower() for text in self.missing)

    def _entry(self, k: int, cell: object, item: int, where: str = "") -> float:
        if self.is_missing(cell):
            return np.nan
        if where and self.decimal == "," and self.columns[k].type == "number":  # `where`: the cell is that of a file
            cell = str(cell).replace(",", ".")
        try:
            return self.columns[k].number_of(cell)
        except BadCell as error:
            raise BadRow(f"column {self.columns[k].name!r}: {error}", item, where) from None

    def _unknown(self, name: object) -> str:
        near = get_close_matches(str(name), self.names, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown column {short_repr(name)}; {hint}known: {listed(self.names)}"


def _column(raw: object) -> Column:
    """Return a column that is one already, or an object of config.json."""
    if isinstance(raw, Column):
        return raw
    if not isinstance(raw, dict):
        raise ValueError(f"each of the columns must be an object, not {short_repr(raw)}")
    try:
        return Column(**raw)
    except TypeError as error:  # "Column.__init__() got an unexpected keyword argument 'depth'"
        raise ValueError(f"columns: {str(error).split('() ')[-1]}") from None


class Table(Kind):
    """Rows of a table: numbers, categories and booleans."""

    name: ClassVar[str] = "table"
    one: ClassVar[str] = "a row"
    many: ClassVar[str] = "rows"
    labels_from: ClassVar[str] = 'the name of a column as "label" in a --schema'
    row_dtype: ClassVar[str] = "float32"
    columns: ClassVar[int] = 4
    nets: ClassVar[frozenset[str]] = frozenset(("table",))
    likelihoods: ClassVar[frozenset[str]] = frozenset(("columns",))

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 1 or type(shape[0]) is not int or not 0 < shape[0] <= MOST_COLUMNS:
            raise ValueError(f"shape must be one positive integer (K,), the number of columns, up to {MOST_COLUMNS}")

    def preprocessing(self, **stored: Any) -> Columns:
        return Columns(**stored)

    def default_preprocessing(self, shape: Shape) -> Columns:
        raise ValueError("a table needs its columns: names, types, means and categories")

    def check_preprocessing(self, options: Mapping[str, Any], preprocessing: Columns) -> None:
        expected, found = [column.cardinality for column in preprocessing.columns], options.get("cardinalities")
        if found != expected:
            raise ValueError(f"the net has the cardinalities {short_repr(found)}, the columns have {short_repr(expected)}")

    def to_x(self, rows: "Tensor") -> "Tensor":
        return rows.float()

    def pictures(self, items: NDArray[Any], spec: Columns) -> NDArray[np.uint8]:
        from models.kinds.table_picture import drawn

        decoded = items.shape[1:] == (spec.parameters.count,) != spec.shape
        return drawn(spec.parameters.expected(items) if decoded else items, spec.columns)


def fill(rows: Rows, decoded: Rows) -> Rows:
    """Return rows whose missing entries are those of `decoded`, (N, K): imputation."""
    return np.where(np.isnan(rows), decoded, rows)


def hide_each(rows: Rows) -> Rows:
    """Return each row once per column, with that entry missing: (N, K) -> (N, K, K). `[i, k, k]` is NaN.

    Encoded and decoded, they say what each cell should be, given the others.
    """
    found = np.repeat(np.asarray(rows, np.float32)[:, None], rows.shape[1], axis=1)
    each = np.arange(rows.shape[1])
    found[:, each, each] = np.nan
    return found
