"""Texts: rows are int16 (T,), the numbers of characters or bytes from 1 on, and 0 after the end.

Knows nothing of nets, files or HTTP.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.build import build
from models.kinds.composed import composed
from models.kinds.kind import Kind, Preprocessing, Shape

if TYPE_CHECKING:
    from torch import Tensor

Rows = NDArray[np.int16]  # (N, T)
END = 0
MOST_STEPS = 10_000
MOST_TOKENS = 30_000  # rows are int16
BYTES = "bytes"
FAR = 16  # Texts that are so many times too long are refused unread.
NAMED = 5  # Errors name at most so many unknown characters.
Tokens = Sequence[str] | Literal["bytes"]


class BadText(ValueError):
    """A text cannot be used. `item` counts from 0; None: the only one."""

    def __init__(self, reason: str, item: int | None = None) -> None:
        super().__init__(reason if item is None else f"text {item}: {reason}")
        self.reason, self.item = reason, item


@dataclass(frozen=True)
class TextFormat:
    """The preprocessing of texts: the characters that a model knows, or "bytes" for those of UTF-8, and the longest text."""

    max_length: int
    tokens: Tokens

    def __post_init__(self) -> None:
        """Raise ValueError if a value has the wrong type or is out of range."""
        if type(self.max_length) is not int or not 0 < self.max_length <= MOST_STEPS:
            raise ValueError(f"max_length must be an integer from 1 to {MOST_STEPS}, not {short_repr(self.max_length)}")
        if self.tokens == BYTES:
            return
        known = self.tokens
        if not isinstance(known, (list, tuple)) or not all(isinstance(one, str) and len(one) == 1 for one in known):
            raise ValueError(f"tokens must be 'bytes' or a list of characters, not {short_repr(known)}")
        if not 0 < len(set(known)) == len(known) <= MOST_TOKENS:
            raise ValueError(f"tokens must be 1 to {MOST_TOKENS} different characters, not {len(known)}")
        object.__setattr__(self, "tokens", tuple(known))

    @property
    def shape(self) -> Shape:
        """Return (max_length,)."""
        return (self.max_length,)

    @property
    def count(self) -> int:
        """Return how many tokens there are, with the end."""
        return 1 + (256 if self.tokens == BYTES else len(self.tokens))

    def stored(self) -> dict[str, Any]:
        """Return what config.json holds."""
        return {"max_length": self.max_length, "tokens": self.tokens if self.tokens == BYTES else list(self.tokens)}

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Return the number of each character."""
        return {one: number for number, one in enumerate(self.tokens, 1)}

    def rows(self, items: Sequence[object], length: int | None = None) -> Rows:
        """Return the rows of texts, (N, T); T is that of the longest, or `length`. Raises BadText, with the item."""
        texts = [self._encoded(item, i) for i, item in enumerate(items)]
        found = np.full((len(texts), max(map(len, texts), default=1) if length is None else length), END, np.int16)
        for row, text in zip(found, texts, strict=True):
            row[: len(text)] = text
        return found

    def items(self, rows: Rows) -> list[str]:
        """Return the texts of rows: (N, T) -> N. Bytes that are not UTF-8 become U+FFFD."""
        cut = [row[:length] for row, length in zip(rows.astype(np.int64), lengths(rows).tolist(), strict=True)]
        if self.tokens == BYTES:
            return [bytes((row - 1).astype(np.uint8)).decode("utf-8", "replace") for row in cut]
        return ["".join(self.tokens[number - 1] for number in row.tolist()) for row in cut]

    def pictures(self, rows: Rows, side: int = 0) -> NDArray[np.uint8]:
        """Return what texts look like, typeset black on white: (N, T) -> uint8 (N, H, W, 1)."""
        from models.kinds.typesetting import typeset  # Pillow's fonts are loaded only where pictures are wanted

        return typeset(self.items(rows))

    def _encoded(self, item: object, i: int) -> Sequence[int]:
        if not isinstance(item, str):
            raise BadText(f"a text must be a string, not {short_repr(item)}", i)
        if not item:
            raise BadText("the text is empty: at least one character is needed", i)
        if len(item) > FAR * self.max_length:  # Looking at each character of a long text takes time.
            raise self._too_long(len(item), "characters", i)
        if self.tokens == BYTES:
            try:
                found: Sequence[int] = [byte + 1 for byte in item.encode()]
            except UnicodeEncodeError:
                raise BadText("the text has half of a surrogate pair, which is no character", i) from None
            unit = "bytes"
        else:
            unknown = [one for one in dict.fromkeys(item) if one not in self.numbers]
            if unknown:  # The training texts may have accented letters as one character.
                item = composed(item)
                unknown = [one for one in dict.fromkeys(item) if one not in self.numbers]
            if unknown:
                raise BadText(
                    f"the text has {named(unknown)}, which the training texts do not have; known: {self._known()}", i
                )
            found, unit = [self.numbers[one] for one in item], "characters"
        if len(found) > self.max_length:
            raise self._too_long(len(found), unit, i)
        return found

    def _too_long(self, found: int, unit: str, i: int) -> BadText:
        return BadText(f"the text has {found:,} {unit}; this model takes at most {self.max_length}: send a shorter text", i)

    def _known(self) -> str:
        shown = "".join(self.tokens[:200])
        return repr(shown) + (f" and {len(self.tokens) - 200} more" if len(self.tokens) > 200 else "")


def named(characters: Sequence[str]) -> str:
    """Return characters as text for a message, with the code of each."""
    shown = ", ".join(f"{one!r} (U+{ord(one):04X})" for one in characters[:NAMED])
    more = len(characters) - NAMED
    return (
        ("the character " if len(characters) == 1 else "the characters ") + shown + (f" and {more} more" if more > 0 else "")
    )


def characters_of(texts: Iterable[str]) -> list[str]:
    """Return the characters that texts have, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return sorted(counts)


def lengths(rows: Rows) -> NDArray[np.int64]:
    """Return how many tokens each row has before its end: (N, T) -> (N,)."""
    return np.asarray(np.cumprod(rows != END, axis=1).sum(1, dtype=np.int64))


def has_ended(rows: Rows) -> NDArray[np.bool_]:
    """Return whether each row has its end among its tokens: (N, T) -> (N,)."""
    return np.asarray((rows == END).any(1))


class Text(Kind):
    """Texts, character by character or byte by byte."""

    name: ClassVar[str] = "text"
    one: ClassVar[str] = "a text"
    many: ClassVar[str] = "texts"
    labels_from: ClassVar[str] = "a sub-folder of files for each class"
    nets: ClassVar[frozenset[str]] = frozenset(("lstm",))
    likelihoods: ClassVar[frozenset[str]] = frozenset(("categorical",))
    row_dtype: ClassVar[str] = "int16"
    columns: ClassVar[int] = 4
    density: ClassVar[bool] = False
    sequential: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 1 or type(shape[0]) is not int or not 0 < shape[0] <= MOST_STEPS:
            raise ValueError(f"shape must be (tokens,), with 1 to {MOST_STEPS} tokens")

    def preprocessing(self, **stored: Any) -> Preprocessing:
        return build(TextFormat, stored, "preprocessing")

    def default_preprocessing(self, shape: Shape) -> Preprocessing:
        raise ValueError("a model of texts is saved with its preprocessing: only the training data know the characters")

    def check_preprocessing(self, spec: TextFormat, options: Mapping[str, Any]) -> None:
        """Raise ValueError unless the net has one output for each token."""
        if options.get("outputs") != spec.count:
            raise ValueError(f"the net has {short_repr(options.get('outputs'))} outputs, but there are {spec.count} tokens")

    def fits(self, found: Shape, shape: Shape) -> bool:
        """Return whether a row, cut to `found` tokens or not, suits the model."""
        return len(found) == 1 and 0 < found[0] <= shape[0]

    def to_x(self, rows: "Tensor") -> "Tensor":
        return rows.long()

    def cut(self, rows: "Tensor") -> "Tensor":
        """Return the rows of a batch up to the end of the longest one."""
        longest = self.lengths(rows).max()
        return rows[:, : max(1, int(longest))]

    def lengths(self, rows: "Tensor") -> "Tensor":
        """Return how many steps each row has before its end: (N, T, ...) -> int64 (N,)."""
        return (rows != END).cumprod(1).sum(1)

    def pictures(self, items: NDArray[Any], spec: Any) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = spec.pictures(items)
        return found
