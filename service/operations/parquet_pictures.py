"""Parquet files with pictures: a column of PNG, JPEG or other picture files, one in each row. Knows nothing of stores or HTTP.

A column of structures with a field `bytes`, as data sets of Hugging Face have it, is such a column, too.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.files.regular_file import open_regular
from models.kinds.beside import ALL, Beside
from models.readers.download import DataError
from models.readers.formats import SUFFIXES
from models.readers.left_out import listed, plural
from models.readers.path_names import shown
from models.readers.scan import is_hidden

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET = ".parquet"
SHORT = "memory may be short: free some, or allow more if it is limited (ulimit -v)"
BYTES = "bytes"  # the field of a structure that has the file
# Arrow's file crashes the process if two threads read from it at once, and several batches are read at a time.
_READING = threading.RLock()


@dataclass(frozen=True)
class ParquetColumns:
    """The columns that are wanted: that of the pictures, None for the only one there is; and those beside it."""

    picture: str | None = None
    beside: Beside = field(default_factory=Beside)


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """Some rows of one row group, by their numbers in it; `first` is the number of the group's first row in the file."""

    path: Path
    column: str
    group: int
    first: int
    rows: tuple[int, ...]

    def only(self, indices: Sequence[int]) -> "ParquetRows":
        """Return the rows with these indices."""
        return ParquetRows(self.path, self.column, self.group, self.first, tuple(self.rows[i] for i in indices))

    def place(self, i: int) -> str:
        """Return where a row is, for people."""
        return f"{shown(self.path)}, row {self.first + self.rows[i]}"

    def contents(self) -> Iterator[bytes | str]:
        """Yield the files in the rows, or why there is none. Raises DataError."""
        with _READING:  # Who needs the same row group waits, and has it from `_files` then.
            files = _files(self.path, self.column, self.group)
        for i in self.rows:
            yield files[i].as_py() or "the cell is empty"


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A file whose column `picture` has picture files. `count`: its rows; `groups`: the rows of each row group."""

    path: Path
    picture: str
    count: int
    groups: tuple[int, ...]
    beside: Beside
    ids: list[str] | None  # None if there is no column of ids

    @property
    def line(self) -> str:
        """What was found, as a line."""
        return (
            f"{shown(self.path)}: {plural(self.count, 'picture')} in the column {shown(self.picture)} of "
            f"{plural(len(self.groups), 'row group')}"
        )

    def parts(self, size: int) -> Iterator[tuple[range, ParquetRows, list[dict[str, Any]]]]:
        """Yield the numbers of up to `size` rows, the rows, and their metadata. Raises DataError."""
        first = 0
        for group, count in enumerate(self.groups):
            metadata = _metadata(self, group, count)
            for start in range(0, count, size):
                rows = range(start, min(count, start + size))
                numbers = range(first + rows.start, first + rows.stop)
                yield (
                    numbers,
                    ParquetRows(self.path, self.picture, group, first, tuple(rows)),
                    metadata[rows.start : rows.stop],
                )
            first += count


def parquet_files(root: Path) -> list[Path]:
    """Return the Parquet files below a folder, sorted; none if there are pictures. Hidden ones are left out."""
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not is_hidden(name)]
        suffixes = {name: os.path.splitext(name)[1].lower() for name in names if not is_hidden(name)}
        if any(suffix in SUFFIXES for suffix in suffixes.values()):
            return []
        found += [Path(folder, name) for name, suffix in suffixes.items() if suffix == PARQUET]
    return sorted(found)


def open_parquet(path: Path, wanted: ParquetColumns) -> ParquetFile:
    """Look at a file. Raises DataError."""
    file = _opened(path)
    types = {field.name: field.type for field in file.schema_arrow}
    picture = _picture_column(path, types, wanted.picture)
    beside = wanted.beside
    for name in (*([] if beside.id is None else [beside.id]), *(() if beside.metadata == (ALL,) else beside.metadata)):
        if name not in types:
            raise DataError(f"{shown(path)}: there is no column {name!r}; the columns are {listed(list(types), most=20)}")
    is_all = beside.metadata == (ALL,)
    if is_all:
        beside = Beside(beside.id, tuple(name for name in types if name not in (picture, beside.id)))
    if wrong := [f"{name} ({types[name]})" for name in beside.metadata if not _is_metadata(types[name])]:
        advice = "name the others instead of '*'" if is_all else "leave them out"
        raise DataError(
            f"{shown(path)}: metadata are texts, numbers, true and false, which these columns do not have: "
            f"{listed(wrong, most=20)}; {advice} in --metadata-columns"
        )
    groups = tuple(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
    ids = None if beside.id is None else [_id(path, i, one) for i, one in enumerate(_column(path, file, beside.id))]
    return ParquetFile(path, picture, file.metadata.num_rows, groups, beside, ids)


def _picture_column(path: Path, types: dict[str, Any], wanted: str | None) -> str:
    usable = [name for name, type in types.items() if _has_files(type)]
    if wanted is None and len(usable) == 1:
        return usable[0]
    there = f"its columns are {listed([f'{name} ({type})' for name, type in types.items()], most=20)}"
    if wanted is not None:
        if wanted not in usable:
            raise DataError(f"{shown(path)}: the column {wanted!r} has no picture files, or is not there; {there}")
        return wanted
    if usable:
        raise DataError(f"{shown(path)}: pictures may be in {listed(usable, most=20)}; choose one with --picture-column")
    raise DataError(
        f"{shown(path)}: no column has picture files, which are of the type binary, or structures with a field {BYTES!r} of "
        f"that type; {there}"
    )


def _has_files(type: Any) -> bool:
    import pyarrow.types as kinds

    if kinds.is_struct(type):
        return type.get_field_index(BYTES) >= 0 and _has_files(type.field(BYTES).type)
    type = _plain(type)
    return bool(kinds.is_binary(type) or kinds.is_large_binary(type) or kinds.is_binary_view(type))


def _is_metadata(type: Any) -> bool:
    import pyarrow.types as kinds

    type = _plain(type)
    tests = (kinds.is_string, kinds.is_large_string, kinds.is_string_view, kinds.is_boolean, kinds.is_integer)
    return kinds.is_floating(type) or kinds.is_null(type) or any(test(type) for test in tests)


def _plain(type: Any) -> Any:
    """Return the type of the values of a column, which may be encoded with a dictionary."""
    import pyarrow.types as kinds

    return type.value_type if kinds.is_dictionary(type) else type


def _id(path: Path, row: int, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise DataError(f"{shown(path)}: row {row} has no id: its cell in the column of ids is {value!r}")
    return str(value)


def _metadata(file: ParquetFile, group: int, count: int) -> list[dict[str, Any]]:
    if not file.beside.metadata:
        return [{}] * count
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for name in file.beside.metadata:
        for i, value in enumerate(_read(file.path, name, group).to_pylist()):
            if value is not None:
                found[i][name] = value
    return found


def _column(path: Path, file: "pq.ParquetFile", name: str) -> list[Any]:
    values: list[Any] = []
    for group in range(file.num_row_groups):
        values += _read(path, name, group).to_pylist()
    return values


# A worker gets several batches of a row group, one after the other.
@lru_cache(maxsize=1)
def _files(path: Path, column: str, group: int) -> "pa.ChunkedArray":
    found = _read(path, column, group)
    return found if not _is_struct(found.type) else _field(found)


def _is_struct(type: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_struct(type))


def _field(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow.compute as pc

    return pc.struct_field(column, BYTES)


def _read(path: Path, column: str, group: int) -> "pa.ChunkedArray":
    """Return a column of a row group. Raises DataError."""
    import pyarrow as pa

    try:
        with _READING:
            return _opened(path).read_row_group(group, columns=[column]).column(0)
    except (pa.ArrowException, OSError) as error:
        corrupt = isinstance(error, pa.ArrowInvalid | OSError) and "Resource temporarily unavailable" not in str(error)
        advice = "the file is corrupt or has changed" if corrupt else SHORT
        raise DataError(f"{shown(path)}: row group {group} cannot be read: {error}; {advice}") from None


@lru_cache(maxsize=4)
def _opened(path: Path) -> "pq.ParquetFile":
    """Open a file. Raises DataError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise DataError(
            f"{shown(path)}: reading Parquet needs the extra parquet: pip install 'vae-service[parquet]'"
        ) from None
    except ImportError as error:
        raise DataError(f"{shown(path)}: pyarrow cannot be loaded: {error}; {SHORT}") from None
    try:
        open_regular(path).close()  # Arrow would wait for a named pipe.
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shown(path)} is not a Parquet file that can be read: {error}") from None
