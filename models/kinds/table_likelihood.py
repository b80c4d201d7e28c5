"""What a decoder of tables answers, as numbers: rows, draws, and nats of each cell. Pure functions of arrays, in float64.

The parameters of a row's likelihood are float32 (P,), column by column: mean and log sigma of a number, both in standardised
units; the logit of a boolean; and one logit for each category. The same formulae in torch are in `models.cells`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.kinds.column import Column

Array = NDArray[np.float64]
LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Parameters:
    """The layout of parameters, and what they mean. Everywhere N is the number of rows, K that of columns."""

    columns: Sequence[Column]

    @cached_property
    def places(self) -> list[slice]:
        """Return where the parameters of each column are."""
        ends = np.cumsum([0, *(column.parameters for column in self.columns)]).tolist()
        return [slice(first, end) for first, end in pairwise(ends)]

    @property
    def count(self) -> int:
        """Return P."""
        return sum(column.parameters for column in self.columns)

    def expected(self, parameters: ArrayLike) -> NDArray[np.float32]:
        """Return the mean of each number and the most likely category: (N, P) -> rows (N, K).

        A mean stays within the range of the training rows. On a logarithmic scale it is that of the logarithm, whose power is
        the median.
        """
        return self._rows(parameters, lambda column, own: _mean(column, own))

    def drawn(self, parameters: ArrayLike, uniforms: ArrayLike) -> NDArray[np.float32]:
        """Return a draw of each cell, computed from uniform noise in (0, 1): (N, P), (N, K) -> rows (N, K).

        Numbers are rounded as those of the training rows, and stay within their range.
        """
        u = np.asarray(uniforms, np.float64)
        draws = iter(u.T)
        return self._rows(parameters, lambda column, own: _draw(column, own, next(draws)))

    def nats(self, parameters: ArrayLike, rows: ArrayLike) -> Array:
        """Return log p of each cell, 0 where it is missing: (N, P), rows (N, K) -> (N, K).

        Those of numbers are densities of standardised values, so that they may be positive.
        """
        return self._each(parameters, rows, _log_prob)

    def surprise(self, parameters: ArrayLike, rows: ArrayLike) -> Array:
        """Return by how many nats each cell is less likely than the most likely value, 0 where it is missing: (N, K).

        Unlike `nats` it can be compared between columns: 0 is as expected, 4.5 are three sigma.
        """
        return self._each(parameters, rows, lambda column, own, x: _most(column, own) - _log_prob(column, own, x))

    def sigma(self, parameters: ArrayLike) -> Array:
        """Return the standard deviation of each number in standardised units, NaN for other columns: (N, P) -> (N, K)."""
        own = self._flat(parameters)
        return np.stack([
            np.exp(own[:, place][:, 1]) if column.type == "number" else np.full(len(own), np.nan)
            for column, place in zip(self.columns, self.places, strict=True)
        ], axis=1)  # fmt: skip

    def _rows(self, parameters: ArrayLike, cell: Any) -> NDArray[np.float32]:
        own = self._flat(parameters)
        cells = [cell(column, own[:, place]) for column, place in zip(self.columns, self.places, strict=True)]
        return np.stack(cells, axis=1).astype(np.float32)

    def _each(self, parameters: ArrayLike, rows: ArrayLike, value: Any) -> Array:
        own, x = self._flat(parameters), np.asarray(rows, np.float64)
        seen = ~np.isnan(x)
        found = np.zeros(x.shape)
        for k, (column, place) in enumerate(zip(self.columns, self.places, strict=True)):
            found[:, k] = value(column, own[:, place], np.where(seen[:, k], x[:, k], 0.0))
        return np.where(seen, found, 0.0)

    def _flat(self, parameters: ArrayLike) -> Array:
        own = np.asarray(parameters, np.float64)
        if own.ndim != 2 or own.shape[1] != self.count:
            raise ValueError(f"parameters must have the shape (N, {self.count}), not {own.shape}")
        return own


def _mean(column: Column, own: Array) -> Array:
    if column.type == "number":
        return _within(column, own[:, 0])
    return (own[:, 0] > 0).astype(np.float64) if column.type == "boolean" else own.argmax(1).astype(np.float64)


def _draw(column: Column, own: Array, u: Array) -> Array:
    if column.type == "number":
        from scipy.special import ndtri  # only here: processes that decode pictures do without it

        entry = _within(column, own[:, 0] + np.exp(own[:, 1]) * ndtri(u))
        if not column.step:
            return entry
        raw = np.exp(column.mean + column.std * entry) if column.scale == "log" else column.mean + column.std * entry
        return _standardised(column, np.maximum(np.round(raw / column.step) * column.step, column.low))
    if column.type == "boolean":
        return np.asarray(np.log(u) < -np.logaddexp(0, -own[:, 0]), np.float64)
    shares = np.exp(_log_softmax(own)).cumsum(1)
    return np.asarray(np.minimum((u[:, None] > shares).sum(1), own.shape[1] - 1), np.float64)


def _log_prob(column: Column, own: Array, x: Array) -> Array:
    if column.type == "number":
        standard: Array = (x - own[:, 0]) * np.exp(-own[:, 1])
        return -0.5 * standard**2 - own[:, 1] - 0.5 * LOG_2PI
    if column.type == "boolean":
        return np.asarray(-np.logaddexp(0, np.where(x > 0.5, -own[:, 0], own[:, 0])), np.float64)
    return np.asarray(np.take_along_axis(_log_softmax(own), x.astype(np.int64)[:, None], axis=1)[:, 0], np.float64)


def _most(column: Column, own: Array) -> Array:
    """Return log p of the most likely value."""
    if column.type == "number":
        return -own[:, 1] - 0.5 * LOG_2PI
    if column.type == "boolean":
        return np.asarray(-np.logaddexp(0, -np.abs(own[:, 0])), np.float64)
    return np.asarray(_log_softmax(own).max(1), np.float64)


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), np.float64)


def _within(column: Column, entry: Array) -> Array:
    return np.clip(entry, *column.ends)


def _standardised(column: Column, raw: Array) -> Array:
    number = np.log(np.maximum(raw, np.finfo(np.float64).tiny)) if column.scale == "log" else raw
    return (number - column.mean) / column.std
