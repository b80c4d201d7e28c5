"""The candidates of one query: the rows that may be among its nearest.

Float32 scores bound each distance from below and above. The ranks of the candidates that remain are computed in float64, so
the result is that of a full scan in float64. Knows nothing of the order in which a scan visits the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.latents.distances import DistanceMetric, Doubles, distance_metric
from service.store.vectors.chunk import Chunk, Floats, Numbers, slack

# Rows that are measured in float64 at a time.
BLOCK = 1 << 12
# Metrics that have bounds in float32.
BOUNDED = ("l2", "w2", "cosine")
# Squared lengths up to this one cannot overflow float32 in the computation of scores, whatever the weight of sigma is.
LONGEST = 2.0**100
# Bound on the error of one float32 product that underflows to 0.
UNDERFLOW = 2.0**-120


@dataclass(frozen=True, slots=True)
class Queries:
    """Gaussians (Q, D) to each of which the nearest are searched by one metric: `counts[i]` of them for query i."""

    metric: str
    mu: Floats
    sigma: Floats
    counts: Sequence[int]
    sigma_weight: float = 1.0  # the weight of sigma in w2

    @property
    def distance(self) -> DistanceMetric:
        """The metric with its weight."""
        return distance_metric(self.metric, self.sigma_weight)

    @property
    def weight(self) -> float:
        """The weight of sigma in the scores, 0 for a metric that is about mu alone."""
        return self.sigma_weight if self.metric == "w2" else 0.0

    def __getitem__(self, part: slice) -> "Queries":
        return replace(self, mu=self.mu[part], sigma=self.sigma[part], counts=self.counts[part])


class Nearest:
    """The `count` nearest of the rows that were added, ties included, in no order. `ranks`: see `DistanceMetric`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.numbers: Numbers = np.empty(0, np.int64)  # (N,)
        self.ranks: Doubles = np.empty(0, np.float64)  # (N,)

    def add(self, numbers: Numbers, ranks: Doubles) -> None:
        if len(self.ranks) >= self.count:
            near = ranks <= self.ranks.max()
            if not near.any():
                return
            numbers, ranks = numbers[near], ranks[near]
        numbers, ranks = np.concatenate([self.numbers, numbers]), np.concatenate([self.ranks, ranks])
        if len(ranks) > self.count:
            kept = ranks <= np.partition(ranks, self.count - 1)[self.count - 1]
            numbers, ranks = numbers[kept], ranks[kept]
        self.numbers, self.ranks = numbers, ranks


def merged(parts: Sequence[Nearest]) -> Nearest:
    """Return the nearest of those that scans of several parts have found for one query."""
    nearest = Nearest(parts[0].count)
    for part in parts:
        nearest.add(part.numbers, part.ranks)
    return nearest


def scores_of(queries: Queries, mu: Floats, chunk: Chunk, rows: slice) -> Floats:
    """Return scores that order the rows of a chunk for each query, (Q, rows): |x|^2 / 2 - q . x less slack, or -cosine.

    `mu` are the queries' own; for the cosine, they are scaled to length 1 (or have length 0).
    """
    scores: Floats = mu @ chunk.mu[rows].T
    if queries.metric == "cosine":
        scores *= -chunk.inverse[rows]
        if chunk.any_short:
            short = np.flatnonzero(chunk.short[rows])
            scores[:, short] = -(mu @ unit_vectors(chunk.mu[rows][short]).T)
        return scores
    if queries.weight:
        scores += (np.float32(queries.weight**2) * queries.sigma) @ chunk.sigma[rows].T
    np.subtract(chunk.halves(rows, queries.weight), scores, out=scores)
    return scores


def unit_vectors(mu: Floats) -> Floats:
    """Scale means (N, D) to length 1. Those of length 0 stay as they are."""
    doubles = mu.astype(np.float64)
    lengths = np.sqrt(np.square(doubles).sum(axis=1, keepdims=True))
    return (doubles / np.where(lengths > 0, lengths, 1)).astype(np.float32)


class Bounded:
    """The candidates of one query: rows whose lower bound is not above the k-th smallest upper bound.

    With x = [mu, w sigma] a row, q the query, h = |x|^2 / 2, and c the slack: h - q . x in float32 is wrong by at most
    c |q| |x| and a little for h, hence by at most c (|q|^2 / 2 + h), and by what float32 loses of products that are too small
    for it. The chunk's norms are stored less c h, so a score less c |q|^2 / 2 is a lower bound, and a score plus
    2 c h + c |q|^2 / 2 an upper one.
    """

    def __init__(self, queries: Queries, i: int) -> None:
        self.queries, self.count = queries, queries.counts[i]
        self.original, self.sigma = queries.mu[i], queries.sigma[i]
        self.mu, self.slack = self.original, slack(len(self.original))
        if queries.metric == "cosine":
            self.mu = unit_vectors(self.mu[None])[0]
            self.margin = 4 * self.slack  # both vectors have length 1, and the query is rounded
        else:
            own, spread = (float(np.square(vector, dtype=np.float64).sum()) for vector in (self.original, self.sigma))
            square = own + queries.weight**2 * spread
            self.margin = self.slack * square + 2 * len(self.original) * UNDERFLOW
        self.scores = np.empty(0, np.float32)
        self.uppers = np.empty(0, np.float64)
        self.places = np.empty(0, np.int64)
        self.rows = np.empty(0, np.int64)
        self.limit = np.inf

    def add(self, place: int, chunk: Chunk, first: int, scores: Floats) -> float:
        """Add the scores of a chunk's rows from `first` on. Return the limit above which a score is no candidate."""
        if not np.isfinite(self.limit) and len(scores) > self.count:
            best = np.argpartition(scores, self.count - 1)[: self.count]
            self.limit = float(self._uppers(chunk, first + best, scores[best]).max())
        rows = np.flatnonzero((scores <= self.limit) & np.isfinite(scores))
        self.scores = np.concatenate([self.scores, scores[rows]])
        self.uppers = np.concatenate([self.uppers, self._uppers(chunk, first + rows, scores[rows])])
        self.places = np.concatenate([self.places, np.full(len(rows), place)])
        self.rows = np.concatenate([self.rows, first + rows])
        if len(self.scores) > self.count:
            self.limit = min(self.limit, float(np.partition(self.uppers, self.count - 1)[self.count - 1]))
            kept = self.scores <= self.limit
            self.scores, self.uppers = self.scores[kept], self.uppers[kept]
            self.places, self.rows = self.places[kept], self.rows[kept]
        return self.limit

    def _uppers(self, chunk: Chunk, rows: Numbers, scores: Floats) -> Doubles:
        """Return upper bounds, shifted like the scores."""
        uppers = scores.astype(np.float64) + self.margin
        if self.queries.metric != "cosine":
            uppers += 2.1 * self.slack * chunk.halves(rows, self.queries.weight)
        return uppers

    def measure(self, chunks: Sequence[Chunk]) -> Nearest:
        """Measure the candidates in float64 and return the nearest."""
        nearest, rank = Nearest(self.count), self.queries.distance.rank
        mu, sigma = self.original.astype(np.float64), self.sigma.astype(np.float64)
        for start in range(0, len(self.rows), BLOCK):
            places, rows = self.places[start : start + BLOCK], self.rows[start : start + BLOCK]
            for place in np.unique(places):
                chunk, of = chunks[place], rows[places == place]
                others = chunk.mu[of].astype(np.float64), chunk.sigma[of].astype(np.float64)
                nearest.add(chunk.numbers[of], rank(mu, sigma, *others))
        return nearest
