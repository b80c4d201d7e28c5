"""The density of a set of posteriors: the mixture 1/N sum_n N(mu_n, sigma_n^2 + h^2), in float64. Pure functions.

That is the aggregate posterior of the items (Hoffman & Johnson 2016, ELBO surgery), widened by a bandwidth h like a kernel
density estimate (Silverman 1986): without one, a mixture of narrow posteriors in many dimensions is nearly nothing between its
own items. An item without a sigma is a point, N(mu_n, h^2). What is computed for one point never depends on the other points.
Knows nothing of where the posteriors are kept.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Numbers = NDArray[np.int64]

# Numbers of a block of rows, which fit into the cache of a processor.
BLOCK = 1 << 16
# Pairs of a point and an item that take about 20 milliseconds at 20 dimensions, in numbers.
TURN = 1 << 22
LOG_2_PI = math.log(2 * math.pi)
# A smaller variance of a bandwidth counts as 0: float64 has it inexactly, or not at all.
LEAST_VARIANCE = float(np.finfo(np.float64).tiny)


class NoDensity(Exception):
    """The mixture has no density, because a component has no width."""


@dataclass(frozen=True, slots=True)
class Components:
    """N Gaussians N(mu, sigma^2 + bandwidth^2) of equal weight; sigma is 0 where an item has none."""

    mu: Floats  # (N, D)
    sigma: Floats  # (N, D)
    bandwidth: float

    def __len__(self) -> int:
        return len(self.mu)

    def blocks(self) -> Iterator[tuple[slice, Doubles, Doubles, Doubles]]:
        """Yield (rows, mu (n, D), 1 / width (n, D), log of the peak (n,)) for all rows, in their order."""
        size = max(1, BLOCK // max(1, self.mu.shape[1]))
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            inverse = 1 / np.hypot(self.sigma[rows].astype(np.float64), self.bandwidth)
            peak = np.log(inverse).sum(axis=1) - 0.5 * LOG_2_PI * self.mu.shape[1]
            yield rows, self.mu[rows].astype(np.float64), inverse, peak


def check_widths(sigma: Floats, has_sigma: NDArray[np.bool_], bandwidth: float, name: str, filtered: bool = True) -> None:
    """Raise NoDensity if some component has no width.

    `name`: of the bandwidth in the message, "auto" for one that was found; `filtered`: whether a filter could leave items out.
    """
    if bandwidth**2 >= LEAST_VARIANCE or not len(sigma):
        return
    wider = "state a larger bandwidth" if name == "auto" else "state bandwidth=auto or a larger bandwidth"
    points = int((~has_sigma).sum())
    if points:
        instead = f"{wider}, or leave these items out by a filter" if filtered else wider
        raise NoDensity(
            f"the bandwidth ({name}) is {bandwidth:g} and {points} of {len(sigma)} items have no sigma, so they have no "
            f"density; {instead}"
        )
    if not (sigma > 0).all():
        raise NoDensity(f"the bandwidth ({name}) is {bandwidth:g} and some items have a sigma of 0; {wider}")


def log_density(points: Floats, components: Components, left_out: Sequence[int], k: int = 0) -> tuple[Doubles, Numbers]:
    """Return the log density of each point in nats, (Q,), and the rows of the k nearest means, nearest first, (Q, k).

    `left_out`: for each point the row of a component that does not count, or -1. Without any component the density is
    exp(-inf); rows are -1 where there are fewer than k. Ties are ordered by row.
    """
    sums = [_LogSum() for _ in points]
    near = [(np.empty(0), np.empty(0, np.int64)) for _ in points]
    for rows, mu, inverse, peak in components.blocks():
        for i, point in enumerate(points.astype(np.float64)):
            apart, own = mu - point, left_out[i] - rows.start
            if k:
                near[i] = _nearest(near[i], np.einsum("nd,nd->n", apart, apart), rows.start, own, k)
            with np.errstate(over="ignore"):  # further apart than float64 can say: exp(-inf)
                apart *= inverse
                terms = peak - 0.5 * np.einsum("nd,nd->n", apart, apart)
            if 0 <= own < len(terms):
                terms[own] = -np.inf
            sums[i].add(terms)
    found = np.full((len(points), k), -1, np.int64)
    for i, (_, rows_of) in enumerate(near):
        found[i, : len(rows_of)] = rows_of
    count = np.array([len(components) - (row >= 0) for row in left_out], np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.array([one.value for one in sums]) - np.log(count)
    return np.where(count > 0, values, -np.inf), found


class _LogSum:
    """log sum exp of terms that come block by block."""

    def __init__(self) -> None:
        self.most, self.sum = -np.inf, 0.0

    def add(self, terms: Doubles) -> None:
        most = max(self.most, float(terms.max(initial=-np.inf)))
        if most > -np.inf:
            self.sum = self.sum * math.exp(self.most - most) + float(np.exp(terms - most).sum())
            self.most = most

    @property
    def value(self) -> float:
        return self.most + math.log(self.sum) if self.sum else -math.inf


def _nearest(known: tuple[Doubles, Numbers], squares: Doubles, first: int, own: int, k: int) -> tuple[Doubles, Numbers]:
    """Return (squares, rows) of the k nearest among those known and a block of rows from `first` on, without its row `own`."""
    if 0 <= own < len(squares):
        squares[own] = np.inf
    limit = known[0][-1] if len(known[0]) == k else np.inf
    if k < len(squares):
        limit = min(limit, np.partition(squares, k - 1)[k - 1])
    among = np.flatnonzero((squares <= limit) & (np.arange(len(squares)) != own))
    joined = np.concatenate([known[0], squares[among]]), np.concatenate([known[1], first + among])
    order = np.lexsort((joined[1], joined[0]))[:k]
    return joined[0][order], joined[1][order]


def sample_of(count: int, size: int) -> Numbers:
    """Return `size` of `count` rows, or all: every (count / size)-th one, the same for the same numbers."""
    size = min(count, size)
    return np.arange(size, dtype=np.int64) * count // max(1, size)


def nearest_distances(mu: Floats, rows: Numbers) -> Doubles:
    """Return the distance of each of these rows of mu (N, D) to the nearest other row, (n,). There must be two rows."""
    points = mu[rows].astype(np.float64)
    least = np.full(len(rows), np.inf)
    size = max(1, BLOCK // max(1, mu.shape[1]))
    for start in range(0, len(mu), size):
        block = mu[start : start + size].astype(np.float64)
        for i, point in enumerate(points):
            apart = block - point
            squares = np.einsum("nd,nd->n", apart, apart)
            own = int(rows[i]) - start
            if 0 <= own < len(squares):
                squares[own] = np.inf
            least[i] = min(least[i], float(squares.min()))
    distances: Doubles = np.sqrt(least)
    return distances
