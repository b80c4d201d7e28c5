"""Tables: rows are float32 (K,), one entry per column: standardised numbers, the index of a category, NaN where missing.

`Table.preprocessing` gives the columns, with which the service and the reports turn dicts and CSV into rows and back, and
the parameters that a decoder answers (`models.kinds.table_likelihood`) into rows. Knows nothing of nets, files or HTTP.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.build import build
from models.kinds.beside import Beside
from models.kinds.column import COMMA, FARTHEST, BadCell, Column, Value, column_from, hint, listed, text_of
from models.kinds.composed import composed
from models.kinds.csv_text import LOOKED_AT, column_names, delimiter_of, has_names, records
from models.kinds.kind import Kind, Shape
from models.kinds.table_likelihood import Parameters
from models.kinds.table_rows import BadRow, FileRow, Rows

if TYPE_CHECKING:
    from torch import Tensor

Item = dict[str, Value]  # the cells of one row by the names of their columns; None where a cell is missing

MOST_COLUMNS = 10_000
MISSING = ("", "NA", "N/A", "NaN", "null", "?")  # in any case: "na" too
MOST_REMARKS = 20


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
        object.__setattr__(self, "columns", tuple(map(column_from, self.columns)))
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
            where = f" (line {item.line})" if isinstance(item, FileRow) else ""
            for name, cell in item.items():
                if (k := self._place(name)) is not None:
                    found[i, k] = self._entry(k, cell, i, where)
                elif not self._is_ignored(name):
                    raise BadRow(self._unknown(name), i)
        return found

    def items_of_csv(
        self,
        lines: Iterable[str],
        most: int | None = None,
        most_characters: int | None = None,
        beside: Beside | None = None,
    ) -> list[FileRow]:
        """Return the rows of CSV, the first `most` at most. Delimiter, names and decimal commas are found as in training.

        A row has up to `most_characters`. It keeps the texts of the columns `beside`, by default of those that the model
        ignores. Raises BadRow, BadCsv.
        """
        rest = iter(lines)
        start = list(islice(rest, LOOKED_AT))
        delimiter = delimiter_of(start)
        found = records(chain(start, rest), delimiter, most_characters)
        first = next(found, None)
        if first is None:
            raise BadRow(f"the CSV is empty: it needs a line with the names of columns, such as {','.join(self.names[:3])}")
        names = column_names(first[1])
        if not has_names(first[1]) and (numbered := column_names([""] * len(names)))[0] in self.numbers.keys() | self._ignored:
            names, found = numbered, chain([first], found)
        places = [self._place(name) for name in names]
        ignored = [name for name, k in zip(names, places, strict=True) if k is None and self._is_ignored(name)]
        more = ignored if beside is None else beside.chosen(names, self.numbers)
        for name, k in zip(names, places, strict=True):
            if k is None and name not in more and name not in ignored:
                raise BadRow(self._unknown(name))
        taken = [(at, self.names[k], self.columns[k].type == "number") for at, k in enumerate(places) if k is not None]
        rows = list[FileRow]()
        texts = [(names.index(name), name) for name in more]
        for line, cells in islice(found, most):
            if len(cells) != len(names):
                raise BadRow(f"has {len(cells)} cells, the header names {len(names)} columns", len(rows), f" (line {line})")
            row = FileRow((name, self._pointed(cells[at], delimiter) if number else cells[at]) for at, name, number in taken)
            row.line, row.beside = line, {name: cells[at] for at, name in texts}
            rows.append(row)
        return rows

    def items(self, rows: Rows, sent: Sequence[Mapping[str, object]] = ()) -> list[Item]:
        """Return rows as dicts, None for NaN: (N, K) -> N. Booleans are true and false, categories text.

        `sent`: what the rows were read from; its cells stay exactly what they are, numbers of a file as numbers.
        """
        found = [
            {column.name: column.value_of(entry) for column, entry in zip(self.columns, row, strict=True)}
            for row in np.asarray(rows, np.float64).tolist()
        ]
        for one, item in zip(found, sent, strict=False):
            of_file = isinstance(item, FileRow)
            for column, cell in self._given(item):
                one[column.name] = column.exact(cell) if of_file else cell
        return found

    def csv_of(self, rows: Rows, sent: Sequence[Mapping[str, object]] = (), beside: Sequence[Mapping[str, str]] = ()) -> str:
        """Return rows as CSV with a header, commas between the cells, and "" for NaN. `sent`: see `items`.

        `beside`: the texts of further columns of each row, by name. They come first, such as an id.
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        more = dict.fromkeys(name for texts in beside for name in texts)
        writer.writerow([*more, *self.names])
        for i, row in enumerate(np.asarray(rows, np.float64).tolist()):
            texts = {column.name: column.text_of(entry) for column, entry in zip(self.columns, row, strict=True)}
            for column, cell in self._given(sent[i]) if i < len(sent) else ():
                if not isinstance(cell, bool):
                    texts[column.name] = repr(cell) if isinstance(cell, float) and column.type == "number" else _text(cell)
            writer.writerow([*(beside[i].get(name, "") for name in more), *texts.values()])
        return out.getvalue()

    def remarks(self, rows: Rows, sent: Sequence[Mapping[str, object]] = ()) -> list[str]:
        """Return a warning for each number that is far outside of the range of the training rows, MOST_REMARKS at most.

        `sent`: what the rows were read from, for the numbers as they were.
        """
        found = list[str]()
        for i, k in np.argwhere(~np.isnan(rows)).tolist():
            column, entry = self.columns[k], float(rows[i, k])
            if column.is_far(entry) and len(found) < MOST_REMARKS:
                ends = f"{column.low:g} to {column.high:g}"
                cells = {one.name: cell for one, cell in self._given(sent[i])} if i < len(sent) else {}
                number = str(cells.get(column.name, f"{column.raw(entry):g}"))[:40]
                found.append(
                    f"row {i}: column {column.name!r}: {number} is far outside of {ends}, the range of the training rows"
                )
        return found

    def example(self) -> str:
        """Return the beginning of a row as JSON, for messages."""
        text = json.dumps({column.name: column.value_of(0.0) for column in self.columns[:2]}, ensure_ascii=False)
        return f"{text[:-1]}, ...}}" if len(self.columns) > 2 else text

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset(text.lower() for text in self.missing)

    @cached_property
    def _ignored(self) -> frozenset[str]:
        """The columns that are no part of a row: those that were left out, and the label."""
        names = [*self.left_out, *([] if self.label is None else [self.label])]
        return frozenset((*names, *map(composed, names)))

    @cached_property
    def _composed(self) -> dict[str, int]:
        return {composed(name): k for name, k in self.numbers.items()}

    def _place(self, name: str) -> int | None:
        """Return the number of a column; its name may have accented letters as one character or as two."""
        k = self.numbers.get(name)
        return self._composed.get(composed(name)) if k is None and name not in self._ignored else k

    def _is_ignored(self, name: str) -> bool:
        return name in self._ignored or composed(name) in self._ignored

    def _given(self, item: Mapping[str, object]) -> Iterator[tuple[Column, Any]]:
        """Yield the columns whose cells an item has, with these cells."""
        for name, cell in item.items():
            if (k := self._place(name)) is not None and not self.is_missing(cell):
                yield self.columns[k], cell

    def _pointed(self, cell: str, delimiter: str) -> str:
        """Return a number with a decimal point for one with a decimal comma."""
        if "," in cell and (self.decimal == "," or (delimiter != "," and COMMA.fullmatch(cell))):
            return cell.replace(",", ".")
        return cell

    def _entry(self, k: int, cell: object, item: int, where: str = "") -> float:
        if self.is_missing(cell):
            return np.nan
        try:
            return self.columns[k].number_of(cell)
        except BadCell as error:
            raise BadRow(f"column {self.columns[k].name!r}: {error}", item, where) from None

    def _unknown(self, name: object) -> str:
        return f"unknown column {short_repr(name)}; {hint(str(name), self.names)}known: {listed(self.names)}"


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else text_of(cell)


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
        return build(Columns, stored, "preprocessing")

    def default_preprocessing(self, shape: Shape) -> Columns:
        raise ValueError("a table needs its columns: names, types, means and categories")

    def check_preprocessing(self, spec: Columns, options: Mapping[str, Any]) -> None:
        expected, found = [column.cardinality for column in spec.columns], options.get("cardinalities")
        if found != expected:
            raise ValueError(f"the net has the cardinalities {short_repr(found)}, the columns have {short_repr(expected)}")
        for column in spec.columns:
            if column.type == "number" and max(map(abs, column.ends)) > FARTHEST:
                raise ValueError(f"column {short_repr(column.name)}: low and high must be within {FARTHEST:g} std of the mean")

    def to_x(self, rows: "Tensor") -> "Tensor":
        return rows.float()

    def pictures(self, items: NDArray[Any], spec: Columns) -> NDArray[np.uint8]:
        from models.kinds.table_picture import drawn

        decoded = items.shape[1:] == (spec.parameters.count,) != spec.shape
        return drawn(spec.parameters.expected(items) if decoded else items, spec.columns)
