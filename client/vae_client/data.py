"""Data that are no pictures: rows of a table, drawings and texts. Methods take them wherever they take pictures.

Each is a list: `client.encode(Rows([{"age": 31}]), model="people")`. What a model of that kind answers has `items`, which is
one, too.
"""

import csv
import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar, overload

D = TypeVar("D", bound="Data")


SUFFIXES = (".csv", ".tsv")
DELIMITERS = ",;\t|"


class Data(list[Any]):
    """A list of items of one kind. A slice of it has the same type."""

    many: ClassVar[str]  # the key of the list in JSON
    one: ClassVar[str]  # the key of one item

    def __init__(self, items: "Iterable[Any] | os.PathLike[str]" = ()) -> None:
        super().__init__(self.listed(items))

    def listed(self, items: Any) -> Iterable[Any]:
        """Return the items; one that is alone may stand without a list."""
        return [items] if isinstance(items, str | Mapping) else items

    @overload  # type: ignore[override]
    def __getitem__(self, key: int, /) -> Any: ...
    @overload
    def __getitem__(self: D, key: slice, /) -> D: ...
    def __getitem__(self, key: Any, /) -> Any:
        """Return an item, or a slice of the same type."""
        found = super().__getitem__(key)
        return type(self)(found) if isinstance(key, slice) else found

    def each(self) -> list[dict[str, Any]]:
        """Return each item as an object of the interface: {"row": {...}}."""
        return [{self.one: item} for item in self]


class Rows(Data):
    """Rows of a table: mappings from columns to values, None where a cell is missing.

    A DataFrame of pandas is taken, too, and the path of a CSV file with a header, in UTF-8.
    """

    many: ClassVar[str] = "rows"
    one: ClassVar[str] = "row"

    def listed(self, items: Any) -> Iterable[Any]:
        if hasattr(items, "to_dict"):  # NaN is no JSON, and neither are the numbers of numpy
            return [{name: _plain(value) for name, value in row.items()} for row in items.to_dict("records")]
        if isinstance(items, str | os.PathLike):
            return _rows_of_file(items)
        found = list(super().listed(items))
        if wrong := [row for row in found if not isinstance(row, Mapping)]:
            raise TypeError(f"a row is a mapping from columns to values, such as {{'age': 31}}, not {type(wrong[0]).__name__}")
        return [dict(row) for row in found]


class Strokes(Data):
    """Drawings: lists of points [dx, dy, pen], pen = 1 at the end of a stroke; or SVG as text, or a path to an SVG file."""

    many: ClassVar[str] = "strokes"
    one: ClassVar[str] = "sketch"

    def listed(self, items: Any) -> Iterable[Any]:
        return [_drawing(one) for one in ([items] if isinstance(items, str | os.PathLike) else items)]


class Texts(Data):
    """Texts: strings, not paths of files."""

    many: ClassVar[str] = "texts"
    one: ClassVar[str] = "text"


KINDS: tuple[type[Data], ...] = (Rows, Strokes, Texts)


def found_in(answer: Mapping[str, Any]) -> Data | None:
    """Return the data of an answer in JSON, None if it has none of these kinds."""
    return next((kind(answer[kind.many]) for kind in KINDS if kind.many in answer), None)


class NoPixels:
    """Stands for the pixels of data that are no pictures: whatever uses it is told where the data are."""

    def _refuse(self, *arguments: Any, **named: Any) -> Any:
        raise AttributeError("the model is not one of pictures, so there are no pixels: use .items of the result")

    __len__ = __iter__ = __getitem__ = __array__ = __getattr__ = _refuse


NO_PIXELS: Any = NoPixels()


def _rows_of_file(path: "str | os.PathLike[str]") -> list[dict[str, str | None]]:
    """Return the rows of a CSV file, cells as text. Raises TypeError, ValueError, OSError."""
    if not os.fspath(path).lower().endswith(SUFFIXES):
        raise TypeError(f"Rows takes mappings, a DataFrame or the path of a CSV file, not {os.fspath(path)!r}")
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        found = list(csv.DictReader(file, delimiter=max(DELIMITERS, key=header.count), skipinitialspace=True))
    for i, row in enumerate(found):
        if None in row:
            raise ValueError(f"{os.fspath(path)}: row {i} has more cells than the header has names")
    return found


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if value is None or value != value else value


def _drawing(one: Any) -> Any:
    if isinstance(one, os.PathLike):
        with open(one, encoding="utf-8") as file:
            return file.read()
    return one.tolist() if hasattr(one, "tolist") else one
