"""What the cells of one column have in common, gathered block by block in bounded memory.

Knows nothing of files, and decides nothing: `models.readers.table_types` does.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.kinds.column import MOST_CATEGORIES

MOST_TEXT = 200  # characters of a text that may be a category
COMMA = re.compile(r"[+-]?\d+,\d+")
DECIMALS = re.compile(r"[+-]?\d*(?:[.,](\d*))?")
LEADING_ZERO = re.compile(r"0\d+")
# Numbers that people write where they have none.
STAND_INS = (-1.0, -9.0, *(sign * (10.0**digits - 1) for digits in range(2, 8) for sign in (1, -1)))
MOST_DECIMALS = 6  # digits after the point up to which values are taken as rounded


@dataclass
class Survey:
    """The cells of one column: counts, numbers and different texts. `line` and `text` are of the first that is no number."""

    name: str
    count: int = 0  # cells that are not missing
    missing: Counter[str] = field(default_factory=Counter)  # by the text that means it
    numbers: int = 0  # cells that are finite numbers
    commas: int = 0  # cells that are numbers with a decimal comma
    texts: dict[str, int] | None = field(default_factory=dict)  # how often each occurs; None: more than MOST_CATEGORIES
    first_text: tuple[int, str] | None = None
    decimals: int | None = 0  # the most digits after a point; None: more than MOST_DECIMALS, or an exponent
    low: float = np.inf
    high: float = -np.inf
    stand_ins: Counter[float] = field(default_factory=Counter)  # those of STAND_INS, and ...
    inner: tuple[float, float] = (np.inf, -np.inf)  # ... the range of all other numbers
    zeros: str | None = None  # the first number that is written with a zero before it, such as 01067
    counting: bool = True  # whether each number is one more than the number before
    last: float | None = None

    def add(self, lines: Sequence[int], cells: Sequence[str], is_missing: Callable[[str], bool]) -> None:
        """Add the cells of a block, with the lines that they are in."""
        kept = [i for i, cell in enumerate(cells) if not is_missing(cell)]
        if len(kept) < len(cells):
            there = set(kept)
            self.missing.update(cell for i, cell in enumerate(cells) if i not in there)
        texts = [cells[i] for i in kept]
        self.count += len(texts)
        self._count_texts(texts)
        values = as_numbers(texts)
        is_number = np.isfinite(values)
        found = values[is_number]
        self.numbers += len(found)
        if len(found) < len(texts):
            strange = np.flatnonzero(~is_number).tolist()
            with_comma = [i for i in strange if COMMA.fullmatch(texts[i])]
            self.commas += len(with_comma)
            found = np.append(found, [float(texts[i].replace(",", ".")) for i in with_comma])
            others = sorted(set(strange).difference(with_comma))
            if others and self.first_text is None:
                self.first_text = lines[kept[others[0]]], texts[others[0]]
        if len(found):
            self._add_numbers(found, texts)
            if self.zeros is None:
                self.zeros = next((text for text in texts if LEADING_ZERO.fullmatch(text)), None)

    @property
    def different(self) -> int | None:
        """Return how many different texts there are, None if they are too many to count."""
        return None if self.texts is None else len(self.texts)

    def _count_texts(self, texts: Iterable[str]) -> None:
        if self.texts is None:
            return
        for text, count in Counter(texts).items():
            self.texts[text] = self.texts.get(text, 0) + count
            if len(self.texts) > MOST_CATEGORIES or len(text) > MOST_TEXT:
                self.texts = None
                return

    def _add_numbers(self, found: NDArray[np.float64], texts: Sequence[str]) -> None:
        self.low, self.high = min(self.low, float(found.min())), max(self.high, float(found.max()))
        maybe = np.isin(found, STAND_INS)
        self.stand_ins.update(found[maybe].tolist())
        if not maybe.all():
            self.inner = min(self.inner[0], float(found[~maybe].min())), max(self.inner[1], float(found[~maybe].max()))
        before = found[:1] - 1 if self.last is None else [self.last]
        with np.errstate(over="ignore"):
            self.counting = self.counting and bool((np.diff(found, prepend=before) == 1).all())
        self.last = float(found[-1])
        if self.decimals is not None:
            self.decimals = most_decimals(texts, self.decimals)


def as_numbers(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return texts as numbers, NaN for those that are none."""
    try:
        return np.array(texts, np.float64)
    except (ValueError, TypeError):
        return np.array([_number(text) for text in texts], np.float64)


def most_decimals(texts: Iterable[str], least: int) -> int | None:
    """Return the most digits after the point of numbers, zeros at the end left out; None for too many or an exponent."""
    most = least
    for text in set(texts):
        if (match := DECIMALS.fullmatch(text)) is None:
            if "e" in text.lower() and np.isfinite(_number(text)):
                return None
            continue
        most = max(most, len((match[1] or "").rstrip("0")))
    return most if most <= MOST_DECIMALS else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
