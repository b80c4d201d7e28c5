"""What a conditional model is told about each item beside its data: one value of a label (CVAE, Sohn et al. 2015, NIPS 28).

The values have names; in tensors they are their indices. Knows nothing of nets, training, files or HTTP.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from models.vae import VAE

LABEL = "label"  # the key of the labels of a data set; other keys are names of its factors
UNKNOWN = "unknown"  # the value of items whose label is missing
MOST_VALUES = 256  # an index is one byte of a row
MOST_CHARACTERS = 200
# An error message names so many values.
SHOWN = 20
Rows = TypeVar("Rows", bound=NDArray[Any])


class NoSuchValue(ValueError):
    """The condition does not have this value; the message lists those that exist."""

    def __init__(self, condition: "Condition", value: str) -> None:
        super().__init__(f"there is no {condition.key} {value[:80]!r}; choose {condition.choices}")
        self.value = value


@dataclass(frozen=True)
class Condition:
    """A key, the names of its values, and how many training items have each; stored in the model's configuration."""

    key: str
    values: tuple[str, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raise ValueError if a field has the wrong type or is out of range."""
        for name in ("values", "counts"):
            if not isinstance(getattr(self, name), (list, tuple)):
                raise ValueError(f"condition: {name} must be a list, not {short_repr(getattr(self, name))}")
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has no tuples.
        names = (self.key, *self.values)
        if not all(isinstance(name, str) and 0 < len(name) <= MOST_CHARACTERS for name in names):
            raise ValueError(f"condition: key and values must be texts of 1 to {MOST_CHARACTERS} characters")
        if not 2 <= len(self.values) <= MOST_VALUES or len(set(self.values)) < len(self.values):
            raise ValueError(f"condition: there must be 2 to {MOST_VALUES} different values, found {len(self.values)}")
        counted = all(type(count) is int and 0 <= count < 2**53 for count in self.counts)
        if not counted or len(self.counts) != len(self.values) or not 0 < sum(self.counts) < 2**53:
            raise ValueError("condition: counts must be the number of training items of each value, and not all 0")

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {value: index for index, value in enumerate(self.values)}

    def index(self, value: str) -> int:
        """Return the index of a value. Raises NoSuchValue, which lists those that exist."""
        if value not in self._index:
            raise NoSuchValue(self, value)
        return self._index[value]

    @property
    def choices(self) -> str:
        """The values for a message: "0, 1, 2 or 3"."""
        return self._listed("or")

    @property
    def listed(self) -> str:
        """The values for a sentence: "0, 1, 2 and 3"."""
        return self._listed("and")

    def _listed(self, last: str) -> str:
        if len(self) > SHOWN:
            return f"{', '.join(self.values[:SHOWN])} {last} one of {len(self) - SHOWN} more"
        return f"{', '.join(self.values[:-1])} {last} {self.values[-1]}"

    def drawn(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return indices with the frequencies of training, by the inverse CDF of uniform numbers in (0, 1): (N,) -> (N,)."""
        ends = np.cumsum(np.asarray(self.counts, np.float64))  # whole numbers below 2^53, so the sums are exact
        index: NDArray[np.int64] = np.searchsorted(ends[:-1], uniform * ends[-1], side="right").astype(np.int64)
        return index


def with_labels(rows: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[Any]:
    """Return rows of the engine that carry their labels: (N, C, H, W) -> (N, C + 1, H, W), and (N, K) -> (N, K + 1).

    One more plane of a picture has the index in all of its pixels: the byte itself, or that byte / 255 in [0, 1], as pixels
    are. One more number of a flat row is the index.
    """
    index: NDArray[Any] = labels.reshape(-1, *(1,) * (rows.ndim - 1))
    if rows.ndim == 4 and rows.dtype != np.uint8:
        index = index.astype(np.float32) / np.float32(255)
    return np.concatenate([rows, np.broadcast_to(index, (len(rows), 1, *rows.shape[2:])).astype(rows.dtype)], 1)


def without_labels(rows: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Undo `with_labels` for a tensor: return the rows and their labels, int64 (N,)."""
    index = rows[:, -1]  # (N, H, W), or (N,) for flat rows
    if rows.dim() == 4:
        index = index[:, 0, 0]
        if rows.is_floating_point():
            index = (255 * index).round()
    return rows[:, :-1], index.long()


def blocks(vae: "VAE", x: "Tensor", labels: "Tensor | None", size: int) -> Iterator[tuple["VAE", "Tensor"]]:
    """Yield blocks of items, x (N, ...), each with the view of the model that knows their labels, (N,)."""
    for first in range(0, len(x), size):
        rows = slice(first, first + size)
        yield vae.given(None if labels is None else labels[rows]), x[rows]


def described(condition: Condition, noun: str) -> str:
    """Return sentences about a conditional model for its card; `noun` is that of an item."""
    return (
        f"Conditional: encoder and decoder are told the {condition.key} of each {noun} (CVAE, Sohn et al. 2015); training had "
        f"{shown_counts(condition)}. All numbers and pictures below are given that {condition.key}. Samples take the values "
        "in turn; an interpolation keeps that of its start."
    )


def shown_counts(condition: Condition) -> str:
    """Return the values with their counts, for a line about the data."""
    pairs = [f"{value} ({count:,})" for value, count in zip(condition.values, condition.counts, strict=True)]
    return ", ".join(pairs[:SHOWN]) + (f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else "")


def in_turn(condition: Condition | None, count: int, device: "torch.device | str" = "cpu") -> "Tensor | None":
    """Return labels for pictures of samples, int64 (count,): each value in turn; None without a condition."""
    import torch  # only here: processes that decode pictures do without it

    return None if condition is None else torch.arange(count, device=device) % len(condition)
