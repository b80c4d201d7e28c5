"""The schema file of a table: JSON that overrides what is inferred about its columns. Knows nothing of cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, get_args

from models.files.plain_json import parse_json
from models.files.regular_file import read_regular
from models.kinds.column import Type, listed
from models.kinds.csv_text import DELIMITERS
from models.readers.download import DataError
from models.readers.path_names import expanded, shown

MOST_BYTES = 1 << 20
EXAMPLE = '{"types": {"zip": "category"}, "leave_out": ["name"], "missing": ["", "-999"], "label": "species"}'


@dataclass(frozen=True)
class Schema:
    """What a person says about the columns of a table; everything else is inferred.

    `types` has "number", "category" or "boolean" by column, `log` the columns that are modelled on a logarithmic scale,
    `missing` the texts that mean a missing cell, `label` the column of labels.
    """

    types: Mapping[str, Type] = field(default_factory=dict)
    leave_out: Sequence[str] = ()
    log: Sequence[str] = ()
    missing: Sequence[str] | None = None
    label: str | None = None
    delimiter: str | None = None
    decimal: str | None = None

    def check(self, names: Sequence[str], where: str) -> None:
        """Raise DataError if a column that the schema names is not among those of the table."""
        for key in ("types", "leave_out", "log"):
            for name in getattr(self, key):
                _check_column(name, names, f"{where}: {key}")
        if self.label is not None:
            _check_column(self.label, names, f"{where}: label")
        for name in self.leave_out:
            if name in self.types or name in self.log or name == self.label:
                raise DataError(f"{where}: the column {name!r} is left out, so it has no type, no scale and no label")


def read_schema(path: str | Path) -> Schema:
    """Read a schema file. Raises DataError, which says what is wrong and what is allowed."""
    file = expanded(path)
    where = f"the schema {shown(file)}"
    try:
        raw = parse_json(read_regular(file, MOST_BYTES))
    except OSError as error:
        raise DataError(f"{where}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}; an example: {EXAMPLE}") from None
    if not isinstance(raw, dict):
        raise DataError(f"{where}: must be an object, such as {EXAMPLE}")
    known = [one.name for one in fields(Schema)]
    for key in raw:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise DataError(f"{where}: unknown key {short_repr(key)}; {hint}known: {', '.join(known)}")
    for key, value in raw.items():
        if reason := _wrong(key, value):
            raise DataError(f"{where}: {key!r} must be {reason}, not {short_repr(value)}")
    return Schema(**raw)


def _wrong(key: str, value: Any) -> str | None:
    """Return what a value must be if it is something else."""
    if key == "types":
        if isinstance(value, dict) and all(one in get_args(Type) for one in value.values()):
            return None
        return f"an object with one of {', '.join(get_args(Type))} for each column"
    if key in ("leave_out", "log", "missing"):
        ok = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return None if ok else f"a list of {'texts' if key == 'missing' else 'columns'}"
    if key == "delimiter":
        return None if value in list(DELIMITERS) else "one of " + ", ".join(repr(one) for one in DELIMITERS)
    if key == "decimal":
        return None if value in (".", ",") else "'.' or ','"
    return None if isinstance(value, str) else "the name of a column"


def _check_column(name: str, names: Sequence[str], where: str) -> None:
    if name not in names:
        near = get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(f"{where}: there is no column {short_repr(name)}; {hint}there are {listed(names)}")
