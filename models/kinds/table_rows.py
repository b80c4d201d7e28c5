"""Rows of tables: those of files, errors about them, and what is filled or hidden in them. Knows nothing of columns."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


class BadRow(ValueError):
    """A row cannot be used. `item` counts from 0; None: all of them, because the names of the columns are wrong."""

    def __init__(self, reason: str, item: int | None = None, where: str = "") -> None:
        super().__init__(reason if item is None else f"row {item}{where}: {reason}")
        self.reason, self.item = reason + where, item


class FileRow(dict[str, str]):
    """A row of a file: the cells that the model takes, as text with decimal points. `line` is the number of its last line.

    `beside` has the texts of further columns by name: those that were asked for, or else those that the model ignores.
    """

    line = 0
    beside: Mapping[str, str] = {}


def fill(rows: Rows, decoded: Rows) -> Rows:
    """Return rows whose missing entries are those of `decoded`, (N, K): imputation."""
    return np.where(np.isnan(rows), decoded, rows)


def hide_each(rows: Rows) -> Rows:
    """Return each row once per column, with that entry missing: (N, K) -> (N, K, K). `[i, k, k]` is NaN.

    Encoded and decoded, they say what each cell should be, given the others.
    """
    found = np.repeat(np.asarray(rows, np.float32)[:, None], rows.shape[1], axis=1)
    each = np.arange(rows.shape[1])
    found[:, each, each] = np.nan
    return found
