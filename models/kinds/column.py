"""One column of a table: its type, its scale, and how a cell becomes a number of the row and a value again.

Knows nothing of files, tables or nets.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cached_property
from reprlib import repr as short_repr
from typing import Any, Literal, get_args

from models.build import build
from models.kinds.composed import composed

Type = Literal["number", "category", "boolean"]
Scale = Literal["linear", "log"]
Value = float | int | bool | str | None

MOST_CATEGORIES = 1000
MOST_NAME = 1000  # characters of a column's or a category's name
# Words for booleans in files and texts; JSON has true and false.
FALSE_WORDS, TRUE_WORDS = ("false", "no", "f", "n", "0"), ("true", "yes", "t", "y", "1")
# A number farther than this from the mean, in standard deviations, is refused: squares of it must fit into a float32.
FARTHEST = 1e6
# The smallest standard deviation of a likelihood, in standard deviations of the column.
SIGMA_FLOOR = 0.01
WHOLE = re.compile(r"[+-]?\d{1,15}", re.ASCII)
COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)  # a number with a decimal comma
FLOAT32 = 2.0**-22  # A float32 entry of a row is nearer than this to the number, relative to it.
# The largest number of a column, and the smallest deviation: with both, nothing overflows.
LARGEST, SMALLEST = 1e100, 1e-100
# Texts that are longer are not compared with the known ones, which takes time.
LONGEST_HINT = 100
SHOWN = 8  # categories or columns that an error lists


class BadCell(ValueError):
    """A cell cannot be used; the message says what was found and what is allowed."""


@dataclass(frozen=True)
class Column:
    """How one column is read and written. `low` and `high` are the range of the training rows, in units of the data.

    A number is standardised with `mean` and `std`, which are those of its logarithm where `scale` is "log". All training
    values are multiples of `step`, 0 if that is not known. `categories` are the texts 0, 1, ...; a boolean has two, for false
    and true.
    """

    name: str
    type: Type
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    scale: Scale = "linear"
    categories: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raise ValueError if a value has the wrong type or is out of range: it may come from a file of a stranger."""
        if not isinstance(self.name, str) or not 0 < len(self.name) <= MOST_NAME:
            raise ValueError(f"the name of a column must be text of 1 to {MOST_NAME} characters, not {short_repr(self.name)}")
        where = f"column {short_repr(self.name)}"
        for field, allowed in (("type", Type), ("scale", Scale)):
            if getattr(self, field) not in get_args(allowed):
                known = ", ".join(get_args(allowed))
                raise ValueError(f"{where}: {field} must be one of {known}, not {short_repr(getattr(self, field))}")
        for field in ("mean", "std", "low", "high", "step"):
            number = getattr(self, field)
            if type(number) not in (int, float) or not math.isfinite(number):
                raise ValueError(f"{where}: {field} must be a finite number, not {short_repr(number)}")
        if self.std <= 0 or self.step < 0 or self.low > self.high:
            raise ValueError(f"{where}: std must be above 0, step at least 0, and low at most high")
        most = 710 if self.scale == "log" else LARGEST  # exp(710) does not fit into a float64
        for field, limit in (("mean", most), ("std", most), ("low", LARGEST), ("high", LARGEST), ("step", LARGEST)):
            if abs(getattr(self, field)) > limit:
                raise ValueError(f"{where}: {field} must be at most {limit:g}, not {getattr(self, field):g}")
        if self.std < SMALLEST or 0 < self.step < SMALLEST:
            raise ValueError(f"{where}: std must be at least {SMALLEST:g}, and step too, or 0")
        if self.type == "number" and (self.low == self.high or (self.scale == "log" and self.low <= 0)):
            raise ValueError(f"{where}: low must be below high, and above 0 on a logarithmic scale")
        names = self.categories
        if not isinstance(names, (list, tuple)) or not all(isinstance(one, str) and len(one) <= MOST_NAME for one in names):
            raise ValueError(f"{where}: categories must be a list of texts of up to {MOST_NAME} characters")
        if len(set(names)) != len(names):
            raise ValueError(f"{where}: two of its categories are the same")
        least, most = {"number": (0, 0), "boolean": (2, 2), "category": (2, MOST_CATEGORIES)}[self.type]
        if not least <= len(names) <= most:
            raise ValueError(f"{where}: a {self.type} has {least} to {most} categories, not {len(names)}")
        object.__setattr__(self, "categories", tuple(names))

    @property
    def cardinality(self) -> int:
        """Return what nets and likelihoods know of a column: 0 for a number, 1 for a boolean, or its number of categories."""
        return {"number": 0, "boolean": 1, "category": len(self.categories)}[self.type]

    @property
    def parameters(self) -> int:
        """Return how many values the likelihood of a cell has: mean and log sigma, one logit, or one for each category."""
        return self.cardinality or 2

    @property
    def floor(self) -> float:
        """Return the smallest sigma of the likelihood, in units of std: rounding to `step` has a sigma of step / sqrt(12)."""
        rounding = self.step / (math.sqrt(12) * self.std) if self.scale == "linear" else 0.0
        return min(1.0, max(SIGMA_FLOOR, rounding))

    @property
    def ends(self) -> tuple[float, float]:
        """Return the range of the training rows in standardised units, within which the mean of a number stays."""
        low, high = (math.log(end) if self.scale == "log" else end for end in (self.low, self.high))
        return (low - self.mean) / self.std, (high - self.mean) / self.std

    def stored(self) -> dict[str, Any]:
        """Return what config.json holds: the fields that are not defaults."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        found = {field.name: values[field.name] for field in fields(self) if values[field.name] != field.default}
        return found | ({"categories": list(self.categories)} if self.categories else {})

    def number_of(self, value: object) -> float:
        """Return the entry of a row for a cell that is not missing. Raises BadCell."""
        if self.type == "number":
            return self._standardised(value)
        text = text_of(value)
        for form in (text, f"{text}.0"):  # A file with missing cells may have 1.0 for 1.
            if (index := self._indices.get(form)) is not None:
                return float(index)
        if not text.isascii() and (index := self._composed.get(composed(text))) is not None:
            return float(index)
        if self.type == "boolean":
            word = text.lower()
            if word in FALSE_WORDS or word in TRUE_WORDS:
                return float(word in TRUE_WORDS)
            raise BadCell(f"{shown(value)} is no boolean: use true or false, or {' or '.join(self.categories)}")
        raise BadCell(f"{shown(value)} is not a known category; {hint(text, self.categories)}known: {listed(self.categories)}")

    def exact(self, value: object) -> float | int | bool | str:
        """Return the value of a cell of a file, or of JSON, that `number_of` takes: nothing is rounded."""
        if self.type == "number":
            if isinstance(value, bool):
                raise ValueError("a boolean is not a number")
            number = as_number(value) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
            return int(number) if WHOLE.fullmatch(str(value).strip()) else number
        return self.value_of(self.number_of(value))  # type: ignore[return-value]

    def value_of(self, entry: float) -> Value:
        """Return the value of an entry of a row, None for NaN. Numbers get two digits more than the training data had."""
        if math.isnan(entry):
            return None
        if self.type != "number":
            index = min(max(round(entry), 0), len(self.categories) - 1)
            return self.categories[index] if self.type == "category" else bool(index)
        raw = self.raw(entry)
        if not self.step:
            return float(f"{raw:.6g}")
        digits = max(0, -round(math.log10(self.step)))
        error = FLOAT32 * self.std * max(1.0, abs(entry)) * (raw if self.scale == "log" else 1.0)
        exact = round(raw, digits)
        rounded = exact if abs(raw - exact) <= error else round(raw, digits + 2)
        return int(rounded) if rounded == int(rounded) and self.step >= 1 else rounded

    def text_of(self, entry: float) -> str:
        """Return an entry of a row as the text of a CSV file: "" for NaN, a boolean in the words of the training data."""
        value = self.value_of(entry)
        if isinstance(value, bool):
            return self.categories[int(value)]
        if isinstance(value, float):
            return f"{value:.10g}"  # 18 for 18.0
        return "" if value is None else str(value)

    def raw(self, entry: float) -> float:
        """Return the number of a standardised entry, in units of the data."""
        number = self.mean + self.std * entry
        return math.exp(min(number, 700.0)) if self.scale == "log" else number

    def is_far(self, entry: float) -> bool:
        """Return whether a number is farther from the range of the training rows than the range is wide."""
        if self.type != "number" or math.isnan(entry):
            return False
        ends = (self.low, self.high)
        raw = self.raw(entry)
        if self.scale == "log":
            raw, *ends = (math.log(max(one, 1e-300)) for one in (raw, *ends))  # type: ignore[assignment]
        return not 2 * ends[0] - ends[1] <= raw <= 2 * ends[1] - ends[0]

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.categories)}

    @cached_property
    def _composed(self) -> dict[str, int]:
        """The categories in NFC: of two that look alike the first."""
        return {composed(name): index for name, index in reversed(self._indices.items())}

    def _standardised(self, value: object) -> float:
        try:
            number = float(self.exact(value))
        except (TypeError, ValueError, OverflowError):
            raise BadCell(f"{shown(value)} is not a number{_advice(value)}") from None
        if not math.isfinite(number):
            raise BadCell(f"{shown(value)} is not a finite number")
        if self.scale == "log":
            if number <= 0:
                raise BadCell(f"{shown(value)} is not above 0, as all values of a column on a logarithmic scale are")
            number = math.log(number)
        entry = (number - self.mean) / self.std
        if abs(entry) > FARTHEST:
            raise BadCell(f"{shown(value)} is too far from the values of the training rows, {self.low:g} to {self.high:g}")
        return entry


def as_number(text: str) -> float:
    """Return a number as files have it: ASCII digits, without underscores. Raises ValueError for what is none."""
    if not text.isascii() or "_" in text:
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def shown(value: object) -> str:
    """Return a value for a message, as JSON has it: true and null."""
    return (
        {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else short_repr(value)
    )


def hint(text: str, known: Sequence[str]) -> str:
    """Return "did you mean 'b'? " if one of the known texts is near, otherwise nothing."""
    near = get_close_matches(text, [one for one in known if len(one) <= LONGEST_HINT], 1) if len(text) <= LONGEST_HINT else []
    return f"did you mean {near[0]!r}? " if near else ""


def _advice(value: object) -> str:
    if not isinstance(value, str):
        return ""
    if COMMA.fullmatch(value.strip()):
        return ": use a decimal point; decimal commas are read in CSV with another delimiter, such as a semicolon"
    return "" if value.isascii() and "_" not in value else ": use the digits 0 to 9, without underscores"


def text_of(value: object) -> str:
    """Return a value of JSON as the text that a file would have: true, 3 for 3.0."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def listed(names: Sequence[str], most: int = SHOWN) -> str:
    """Return "'a', 'b' and 4 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(short_repr(name) for name in names[:most]) + more


def column_from(raw: object) -> Column:
    """Return a column that is one already, or an object of config.json."""
    if isinstance(raw, Column):
        return raw
    return build(Column, raw, "each of the columns" if not isinstance(raw, dict) else _named(raw.get("name")))


def _named(name: object) -> str:
    return f"column {short_repr(name)}" if isinstance(name, str) else "a column"
