"""Read a table, CSV or Parquet, into float32 rows: first to find out what its columns are, then to fill one array.

What is inferred is said; what is left out is counted and named. Knows nothing of models or training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.kinds.column import SMALLEST, BadCell, Column, listed
from models.kinds.table import MISSING, MOST_COLUMNS, Columns
from models.readers.download import DataError
from models.readers.found import Found, Unread, class_numbers, numbered
from models.readers.layout import TRAIN, class_lines, split_of
from models.readers.left_out import plural
from models.readers.memory import free_memory
from models.readers.path_names import shown
from models.readers.read_options import ReadOptions
from models.readers.table_cells import TableFile, open_csv, open_parquet, ragged_line
from models.readers.table_lines import column_lines
from models.readers.table_schema import Schema
from models.readers.table_survey import Survey, as_numbers
from models.readers.table_types import column_of, decide, decimal_of

SPLIT = "split"
NO_LABEL = "(missing)"
LEAST_ROWS = 2
BYTES = 20  # of memory for each cell: float64 until the columns are standardised, then float32, and a copy of a column


@dataclass(frozen=True, kw_only=True)
class TableOptions(ReadOptions):
    """How a table is read. `model` has the columns of a trained model, which are used instead of the schema."""

    schema: Schema = field(default_factory=Schema)
    schema_name: str = "the schema"  # for messages
    max_corrupt: float = 0.01  # largest share of lines with too few or too many cells; one is always allowed
    may_lack: bool = False  # whether columns of the model may not be there, as in requests: their cells are missing


def read_table(path: Path, parquet: bool = False, options: TableOptions | None = None) -> Found:
    """Read a table: CSV, or Parquet if pyarrow is there. Raises DataError.

    A column named `split` with words such as train and test says to which split a row belongs. Means and deviations are those
    of its training rows, or of all rows without such a column.
    """
    options = options or TableOptions()
    model: Columns | None = options.model
    schema = Schema(missing=model.missing, decimal=model.decimal) if model else options.schema
    file = open_parquet(path) if parquet else open_csv(path, schema.delimiter)
    schema.check(file.names, options.schema_name)
    if len(file.names) > MOST_COLUMNS:
        raise DataError(f"{shown(path)}: has {len(file.names):,} columns, at most {MOST_COLUMNS:,} are allowed")
    where, missing = shown(path), schema.missing or MISSING
    surveys, rows = _survey(file, missing)
    ragged = ragged_line(file, rows, options.max_corrupt)
    if rows < (least := 1 if model else LEAST_ROWS):
        others = f"; {ragged}" if ragged else ""
        raise DataError(
            f"{where}: only {plural(rows, 'row')} below the names of columns, at least {least} {'is' if model else 'are'} "
            f"needed{others}"
        )
    split = _split_column(surveys)
    reasons = dict[str, str]()
    if model:
        spec, absent = model, [name for name in model.names if name not in surveys]
        if absent and not options.may_lack:
            raise DataError(f"{where}: has no column {absent[0]!r}, which the model takes; it has {', '.join(file.names[:8])}")
        if len(absent) == len(spec.names):
            raise DataError(f"{where}: has none of the columns of the model, {listed(absent)}; it has {listed(file.names)}")
        if absent:
            file.lines.append(f"not in the file, so that all their cells are missing: {listed(absent, most=len(absent))}")
    else:
        spec, reasons = _chosen(surveys, schema, file, where, {split, schema.label} - {None})
    label = spec.label if spec.label in surveys else None
    _check_memory(rows, len(spec.columns), where, "take fewer rows" if model else "leave columns out with a --schema, or take "
                  "fewer rows")  # fmt: skip
    values, texts = _filled(file, spec, [name for name in (label, split) if name], rows)
    splits = [split_of(word) for word in texts[split]] if split else None
    if not model:
        training = np.array([one in (None, TRAIN) for one in splits]) if splits else np.ones(rows, bool)
        if not training.any():
            words = ", ".join(sorted(set(texts[split]))) if split else ""
            raise DataError(
                f"{where}: there are no training rows: the column {split!r} has only {words}; call some of them train"
            )
        spec = replace(spec, columns=tuple(
            _measured(column, values[training, k], where) for k, column in enumerate(spec.columns)
        ))  # fmt: skip
    for k, column in enumerate(spec.columns):
        if column.type == "number":
            own = np.log(values[:, k]) if column.scale == "log" else values[:, k]
            values[:, k] = (own - column.mean) / column.std
    labels, classes = class_numbers(texts[label]) if label else (None, None)
    summary = [f"{where}: {plural(rows, 'row')} of {plural(len(file.names), 'column')}", *file.lines]
    summary += column_lines(spec, surveys, reasons, model is None) + ([ragged] if ragged else [])
    summary += [f"label: the column {label}", *class_lines(texts[label])] if label else []
    skipped = {record for record, _, _ in file.others}
    numbers = (record for record in range(rows + len(file.others)) if record not in skipped)
    return Found(
        values.astype(np.float32), labels, classes, splits, preprocessing=spec, summary=summary, kind="table",
        names=list(map(numbered, numbers)) if model else None,
        unread=[
            Unread(numbered(record), f"line {line}", f"has {cells} cells, the header names {len(file.names)} columns")
            for record, line, cells in file.others
        ],
    )  # fmt: skip


def _survey(file: TableFile, missing: Sequence[str]) -> tuple[dict[str, Survey], int]:
    """Return what the cells of each column have in common, and the number of rows."""
    surveys, rows = {name: Survey(name) for name in file.names}, 0
    absent = {text.lower() for text in missing}
    for block in file.blocks():
        lines = [line for line, _ in block]
        for survey, cells in zip(surveys.values(), zip(*(cells for _, cells in block), strict=True), strict=False):
            survey.add(lines, cells, lambda cell: cell.lower() in absent)
        rows += len(block)
    return surveys, rows


def _split_column(surveys: dict[str, Survey]) -> str | None:
    """Return the column that names splits, with words for them in all cells."""
    for name, survey in surveys.items():
        if name.lower() == SPLIT and survey.texts and not survey.missing and all(map(split_of, survey.texts)):
            return name
    return None


def _chosen(
    surveys: dict[str, Survey], schema: Schema, file: TableFile, where: str, roles: set[str | None]
) -> tuple[Columns, dict[str, str]]:
    """Return the columns, not measured yet, and why others are left out. Columns with `roles` are no part of rows."""
    decimal = file.decimal or decimal_of(surveys, schema, file.delimiter, where)
    columns, reasons = list[Column](), dict[str, str]()
    for name, survey in surveys.items():
        if name in roles:
            continue
        decided = decide(survey, schema, where, decimal)
        if decided.type is None:
            reasons[name] = decided.reason
            continue
        if name in schema.log and (decided.type != "number" or survey.low <= 0):
            raise DataError(f'{where}: column {name!r} is in "log" of the schema, but it is no column of numbers above 0')
        columns.append(column_of(survey, decided.type, name in schema.log))
    if not columns:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:8])
        raise DataError(f"{where}: no column is left to learn from: {why or 'there is only a label or a split'}")
    left_out = [*reasons, *(name for name in surveys if name in roles and name != schema.label)]
    return Columns(tuple(columns), schema.missing or MISSING, left_out, schema.label, decimal), reasons


def _check_memory(rows: int, columns: int, where: str, advice: str) -> None:
    """Raise DataError if a table would not fit into the memory."""
    needed, free = BYTES * rows * columns, free_memory()
    if free is not None and needed > free:
        raise DataError(
            f"{where}: {rows:,} rows of {columns:,} columns need {needed / 2**30:.1f} GiB of memory, "
            f"{free / 2**30:.1f} GiB are free: {advice}"
        )


def _filled(
    file: TableFile, spec: Columns, extra: Sequence[str], rows: int
) -> tuple[NDArray[np.float64], dict[str, list[str]]]:
    """Return the numbers and categories of all rows, (N, K), NaN where missing, and the texts of the columns `extra`."""
    where = shown(file.path)
    values = np.full((rows, len(spec.columns)), np.nan)
    texts: dict[str, list[str]] = {name: [] for name in extra}
    places = [(k, file.names.index(name)) for k, name in enumerate(spec.names) if name in file.names]
    first = 0
    for block in file.blocks():
        cells = list(zip(*(cells for _, cells in block), strict=True))
        for k, place in places if block else []:
            values[first : first + len(block), k] = _entries(spec, k, cells[place], [line for line, _ in block], where)
        for name in extra if block else []:
            texts[name] += [NO_LABEL if spec.is_missing(cell) else shown(cell) for cell in cells[file.names.index(name)]]
        first += len(block)
    return values, texts


def _entries(spec: Columns, k: int, cells: Sequence[str], lines: Sequence[int], where: str) -> NDArray[np.float64]:
    """Return the cells of one column as numbers in units of the data, or as indices. Raises DataError."""
    column = spec.columns[k]
    kept = [i for i, cell in enumerate(cells) if not spec.is_missing(cell)]
    found = np.full(len(cells), np.nan)
    if column.type == "number":
        texts = [cells[i].replace(",", ".") if spec.decimal == "," else cells[i] for i in kept]
        found[kept] = as_numbers(texts)
        strange = np.flatnonzero(~np.isfinite(found[kept]))
        bad = kept[strange[0]] if len(strange) else None
    else:
        numbers, bad = dict[str, float](), None
        for i in kept:
            if cells[i] not in numbers:
                try:
                    numbers[cells[i]] = column.number_of(cells[i])
                except BadCell:
                    bad = i
                    break
            found[i] = numbers[cells[i]]
    if bad is not None:
        try:
            column.number_of(cells[bad])
        except BadCell as error:
            raise DataError(f"{where}: line {lines[bad]}: column {column.name!r}: {error}") from None
    if column.scale == "log" and (low := next((i for i in kept if found[i] <= 0), None)) is not None:
        raise DataError(f"{where}: line {lines[low]}: column {column.name!r}: {cells[low]!r} is not above 0")
    return found


def _measured(column: Column, values: NDArray[np.float64], where: str) -> Column:
    """Return a column of numbers with the mean, the deviation and the range of the training rows."""
    if column.type != "number":
        return column
    there = values[~np.isnan(values)]
    own = np.log(there) if column.scale == "log" else there
    if not len(own) or own.min() == own.max():
        raise DataError(
            f"{where}: column {column.name!r} is {'constant' if len(own) else 'missing'} in all training rows: leave it out "
            'with "leave_out" in a --schema'
        )
    mean, std = float(own.mean()), float(own.std())
    if std < SMALLEST:
        raise DataError(
            f"{where}: column {column.name!r}: its training values, {there.min():g} to {there.max():g}, differ too "
            f"little: their deviation is {std:g}, at least {SMALLEST:g} is needed: give it in another unit, or leave it "
            'out with "leave_out" in a --schema'
        )
    return replace(column, mean=mean, std=std, low=float(there.min()), high=float(there.max()))
