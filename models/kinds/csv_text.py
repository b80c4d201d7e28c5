"""CSV: its encoding and delimiter, and its lines as cells with their numbers. Knows nothing of columns or files."""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from statistics import mode

from models.kinds.column import MOST_NAME, as_number
from models.kinds.composed import composed

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LONGEST_CELL = csv.field_size_limit()
LOOKED_AT, MOST_LOOKED_AT = 100, 1 << 20  # lines from which the delimiter is chosen, and about their characters
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
Line = tuple[int, list[str]]  # the number of the last line of a record, counted from 1, and its cells


class BadCsv(ValueError):
    """The text is not CSV; the message says where and why."""


def encoding_of(pieces: Iterable[bytes]) -> str:
    """Return the encoding: by the byte order mark, else UTF-8 if all pieces are, else Windows-1252. Raises BadCsv."""
    rest = iter(pieces)
    start = next(rest, b"")
    for mark, encoding in MARKS.items():
        if start.startswith(mark) and not start.startswith(codecs.BOM_UTF32_LE):
            return encoding
    if b"\0" in start:
        raise BadCsv("has zero bytes, so it is not a text file")
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in chain([start], rest):
            decoder.decode(piece)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def delimiter_of(lines: Iterable[str]) -> str:
    """Return the delimiter with which most of the first lines have the same number of cells, several; "," if none has."""
    some, characters = list[str](), 0
    for line in islice(lines, LOOKED_AT):
        some.append(line)
        characters += len(line)
        if characters > MOST_LOOKED_AT:
            break
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


def records(lines: Iterable[str], delimiter: str, most: int | None = None) -> Iterator[Line]:
    """Yield each record, cells without spaces around them and in Unicode's composed form (NFC). Raises BadCsv.

    Lines without cells are left out, but where the first record has one cell: there they are missing cells. `most`: the
    characters that a record may have.
    """
    characters, record = 0, list[str]()  # those of the record that is read
    # Spaces between the quote that ends a cell and what follows; at the beginning of a cell they do not count either.
    padded = re.compile(f'(?<!")" +(?={re.escape(delimiter)}|[\\r\\n]|$)')

    def bounded() -> Iterator[str]:
        nonlocal characters
        for line in lines:
            characters += len(line)
            if most is not None and characters > most:
                raise BadCsv(f"line {reader.line_num + 1}: a row of more than {most:,} characters")
            record.append(composed(padded.sub('"', line) if '"' in line else line))
            yield record[-1]

    reader = csv.reader(bounded(), delimiter=delimiter, skipinitialspace=True, strict=True)
    width = 0
    while True:
        characters, first = 0, reader.line_num + 1
        record.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadCsv(_explained(str(error), "".join(record), delimiter, first, reader.line_num)) from None
        cells = [one.strip() for one in row]
        if any(cells) or len(cells) > 1:
            width = width or len(cells)
            yield reader.line_num, cells
        elif width == 1:
            yield reader.line_num, [""]


def _explained(error: str, record: str, delimiter: str, first: int, last: int) -> str:
    """Return what is wrong with a record, from the first of its lines to the one where reading stopped."""
    if "field limit" in error:
        return f"line {first}: column {_long_cell(record, delimiter)}: a cell has more than {LONGEST_CELL:,} characters"
    if "end of data" in error:
        return f'line {first}: a cell begins with a quote ("), and there is no quote that ends it up to the end of the file'
    if "expected after" in error:
        return (
            f"line {last}: after the quote that ends a cell, {DELIMITERS.get(delimiter, repr(delimiter))} or the end of the "
            'line must follow: a quote inside of a cell is written twice ("")'
        )
    return f"line {last}: {error}"


def _long_cell(record: str, delimiter: str) -> int:
    """Return the number of the first column of a record, from 1 on, that has too many characters."""
    column, start, is_quoted = 1, 0, False
    for found in re.finditer(f'["{re.escape(delimiter)}]', record):
        if found[0] == '"':
            is_quoted = not is_quoted
        elif not is_quoted:
            if found.start() - start > LONGEST_CELL:
                break
            column, start = column + 1, found.end()
    return column


def has_names(first: Iterable[str]) -> bool:
    """Return whether the first record of a file has the names of columns: one with numbers alone has not."""
    return not all(_is_number(cell) for cell in first)


def column_names(header: Sequence[str]) -> list[str]:
    """Return the names of the columns; one without a name gets its number. Raises BadCsv if two are the same."""
    names = [name or f"column {i}" for i, name in enumerate(header, 1)]
    seen = dict[str, int]()
    for i, name in enumerate(names, 1):
        if len(name) > MOST_NAME:
            raise BadCsv(f"the name of a column has {len(name)} characters, {MOST_NAME} are allowed: {name[:80]!r}...")
        if (first := seen.setdefault(name, i)) != i:
            raise BadCsv(f"columns {first} and {i} are both named {name[:80]!r}: give each its own name")
    return names


def _is_number(cell: str) -> bool:
    try:
        as_number(cell.replace(",", "."))
    except ValueError:
        return False
    return True
