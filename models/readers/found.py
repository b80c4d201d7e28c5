"""What a reader returns: rows, labels and splits, preparation, and lines that say what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1


class Groups(NamedTuple):
    """The number of each item's group, (N,), or UNKNOWN; and the names of the groups 0, 1, ..."""

    numbers: NDArray[np.int64]
    names: list[str]


class Unread(NamedTuple):
    """An item that was left out: its name within the source, the place of it there, and the reason."""

    name: str
    place: str
    reason: str


@dataclass
class Found:
    """N items in the order of the source. `x` is a `numpy.memmap` if the rows lie in a file.

    `summary` says what was found, what was inferred and what was left out.
    """

    x: NDArray[Any]  # (N, ...), rows of the kind: uint8 (N, C, H, W) for pictures
    labels: NDArray[np.int64] | None  # (N,)
    classes: list[str] | None  # names of the labels 0, 1, ...; None if they have no names
    splits: Sequence[str | None] | None  # "train", "test" or "validation" of each; None: the source has no splits
    factors: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)  # name -> (N,)
    preprocessing: Any = None  # that of the kind
    summary: list[str] = field(default_factory=list)
    groups: Groups | None = None  # which items belong together
    keys: list[bytes] | None = None  # what tells rows apart, if it is known already; see `models.readers.copies`
    skipped: list[str] = field(default_factory=list)  # files that cannot be read, with the reasons
    kind: str = "picture"
    # What tells items apart within the source, whatever is left out: their numbers there, or paths of files. None: 0, 1, ...
    names: Sequence[str] | None = None
    unread: list[Unread] = field(default_factory=list)  # items that were left out


def numbered(number: int) -> str:
    """Return the name of an item that has a number within its source, counted from 0."""
    return f"{number:06d}"


def class_numbers(names: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Return the index of each name among the sorted distinct names, and these."""
    classes = sorted(set(names))
    numbers = {name: i for i, name in enumerate(classes)}
    return np.array([numbers[name] for name in names], np.int64), classes


def range_text(low: Any, high: Any) -> str:
    """Return two values as text, such as "0 to 4095" or "-1 to 0.998"."""
    return f"{float(low):.6g} to {float(high):.6g}"
