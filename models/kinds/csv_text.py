"""CSV: which delimiter a text has, and its lines as cells with their numbers. Knows nothing of columns or files."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from statistics import mode

from models.kinds.column import MOST_NAME

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LOOKED_AT = 100  # lines from which the delimiter is chosen
MOST_CELL = 1 << 17  # characters of a cell, the limit of Python's reader
Line = tuple[int, list[str]]  # the number of the last line of a record, counted from 1, and its cells


class BadCsv(ValueError):
    """The text is not CSV; the message says where and why."""


def delimiter_of(lines: Iterable[str]) -> str:
    """Return the delimiter with which most of the first lines have the same number of cells, several; "," if none has."""
    some = list(islice(lines, LOOKED_AT))
    best, chosen = (0.0, 0), ","
    for delimiter in DELIMITERS:
        try:
            counts = [len(row) for row in csv.reader(some, delimiter=delimiter, skipinitialspace=True) if row]
        except csv.Error:
            continue
        usual = mode(counts) if counts else 0
        found = (sum(count == usual for count in counts) / len(counts), usual) if usual > 1 else (0.0, 0)
        if found > best:
            best, chosen = found, delimiter
    return chosen


def records(lines: Iterable[str], delimiter: str) -> Iterator[Line]:
    """Yield each record that is not empty, cells without spaces around them. Raises BadCsv."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadCsv(f"line {reader.line_num}: {error}") from None
        if any(cell := [one.strip() for one in row]) or len(row) > 1:
            yield reader.line_num, cell


def column_names(header: Sequence[str]) -> list[str]:
    """Return the names of the columns; one without a name gets its number. Raises BadCsv if two are the same."""
    names = [name or f"column {i}" for i, name in enumerate(header, 1)]
    if long := next((name for name in names if len(name) > MOST_NAME), None):
        raise BadCsv(f"the name of a column has {len(long)} characters, {MOST_NAME} are allowed: {long[:80]!r}...")
    for i, name in enumerate(names):
        if (first := names.index(name)) != i:
            raise BadCsv(f"columns {first + 1} and {i + 1} are both named {name[:80]!r}: give each its own name")
    return names
