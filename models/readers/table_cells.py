"""The cells of a table file as text, block by block: CSV with any usual delimiter and encoding, and Parquet.

Knows nothing of what the columns mean. A block has at most BLOCK lines, so that a large file takes little memory.
"""

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from models.kinds.composed import composed
from models.kinds.csv_text import (
    DELIMITERS,
    LOOKED_AT,
    BadCsv,
    Line,
    column_names,
    delimiter_of,
    encoding_of,
    has_names,
    records,
)
from models.readers.download import DataError
from models.readers.left_out import plural
from models.readers.path_names import shown

BLOCK = 10_000
PIECE = 1 << 20
EXAMPLES = 3  # lines that a message names
NO_PYARROW = "reading Parquet needs pyarrow: pip install 'vae-service[parquet]', or save the table as CSV"


@dataclass
class TableFile:
    """A table whose cells are read when `blocks` is called. `lines` says what was found. Raises DataError."""

    path: Path
    names: list[str]
    lines: list[str] = field(default_factory=list)
    decimal: str | None = None  # None: not known yet
    delimiter: str = ","
    # Records with more or fewer cells than the header, ...
    others: list[tuple[int, int, int]] = field(default_factory=list)  # ... each with its record, its line and its cells

    def blocks(self) -> Iterator[list[Line]]:
        """Yield the rows, BLOCK at a time: (line, cells). Notes lines with too few or too many cells, and skips them."""
        raise NotImplementedError


@dataclass
class CsvFile(TableFile):
    """A CSV file, with or without gzip."""

    encoding: str = "utf-8"
    header: bool = True

    def blocks(self) -> Iterator[list[Line]]:
        self.others, record = [], 0
        with _opened(self.path, self.encoding) as lines:
            found = records(lines, self.delimiter)
            if self.header:
                next(found, None)
            for block in _batched(found):
                width = len(self.names)
                self.others += [(i, line, len(cells)) for i, (line, cells) in enumerate(block, record) if len(cells) != width]
                record += len(block)
                yield [(line, cells) for line, cells in block if len(cells) == width]


@dataclass
class ParquetFile(TableFile):
    """A Parquet file, for which pyarrow must be there. Its lines are its rows, counted from 1."""

    def blocks(self) -> Iterator[list[Line]]:
        with _parquet(self.path) as file:
            row = 0
            for batch in file.iter_batches(BLOCK):
                columns = [[_text(value) for value in column.to_pylist()] for column in batch.columns]
                yield [(row + i, list(cells)) for i, cells in enumerate(zip(*columns, strict=True), 1)]
                row += len(batch)


def open_csv(path: Path, delimiter: str | None = None) -> CsvFile:
    """Look at the start of a CSV file: encoding, delimiter, and whether the first line has names. Raises DataError."""
    if path.exists() and not path.is_file():
        raise DataError(f"{shown(path)}: not a file")
    encoding = _encoding(path)
    with _opened(path, encoding) as lines:
        start = list(islice(lines, LOOKED_AT))
        chosen = delimiter or delimiter_of(start)
        first: Line | None = next(records(iter(start), chosen), None)
    if first is None:
        raise DataError(f"{shown(path)}: the file is empty: it needs a line with the names of columns, and lines of cells")
    header = has_names(first[1])
    about = [f"{encoding.replace('-sig', ' with a byte order mark')}, {DELIMITERS.get(chosen, chosen)} between cells"]
    if not header:
        about.append("no names of columns, because the first line has only numbers; they are numbered")
    try:
        names = column_names(first[1] if header else [""] * len(first[1]))
    except BadCsv as error:
        raise DataError(f"{shown(path)}: {error}") from None
    found = CsvFile(path, names, ["CSV: " + "; ".join(about)], None, chosen, encoding=encoding, header=header)
    if header and (unnamed := sum(not name for name in first[1])):
        found.lines.append(f"{plural(unnamed, 'column')} without a name: {'it is' if unnamed == 1 else 'they are'} numbered")
    return found


def open_parquet(path: Path) -> ParquetFile:
    """Look at the columns of a Parquet file. Raises DataError, also if pyarrow is not there."""
    with _parquet(path) as file:
        try:
            names = column_names([composed(name) for name in file.schema_arrow.names])
        except BadCsv as error:
            raise DataError(f"{shown(path)}: {error}") from None
        return ParquetFile(path, names, [f"Parquet: {plural(file.metadata.num_rows, 'row')}"], ".")


def ragged_line(found: TableFile, rows: int, most: float) -> str | None:
    """Return a line about lines that were skipped. Raises DataError if they are more than `most` of all, and more than one."""
    if not (count := len(found.others)):
        return None
    first = found.others[:EXAMPLES]
    some = "; ".join(f"line {line} has {cells}" for _, line, cells in first)
    others = count - len(first)
    more = f"; and {others:,} more" if others else ""
    text = f"{plural(count, 'line')} without {plural(len(found.names), 'cell')}, as the header has: {some}{more}"
    if count > max(1, most * (rows + count)):
        raise DataError(f"{shown(found.path)}: {text}; correct them, or allow more with --max-corrupt")
    return f"left out: {text}"


def _batched(found: Iterator[Line]) -> Iterator[list[Line]]:
    while block := list(islice(found, BLOCK)):
        yield block


def _binary(path: Path) -> Any:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _encoding(path: Path) -> str:
    with _reading(path), _binary(path) as file:
        try:
            return encoding_of(iter(lambda: file.read(PIECE), b""))
        except BadCsv as error:
            raise DataError(
                f"{shown(path)}: {error}; a Parquet file is read with --data parquet:PATH, or if its name ends in .parquet"
            ) from None


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    with _reading(path), _binary(path) as file:
        yield io.TextIOWrapper(file, encoding, "replace", newline="")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{shown(path)}: no such file") from None
    except BadCsv as error:
        raise DataError(f"{shown(path)}: {error}") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{shown(path)}: {getattr(error, 'strerror', None) or error}") from None


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise DataError(f"{shown(path)}: {NO_PYARROW}") from None
    with _reading(path):
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                yield file
        except pyarrow.ArrowException as error:
            raise DataError(f"{shown(path)}: not a Parquet file: {error}") from None


def _text(value: Any) -> str:
    """Return a value of Parquet as a CSV file would have it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else composed(str(value).strip())
