"""The Gaussians of one collection in memory, and the exact search among them.

Rows have numbers and may be added in any order: an index that got the same rows in another order, or only those that were not
removed, gives the same answers. Knows nothing of files, ids or filters.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial

import numpy as np

from service.latents.distances import METRICS
from service.store.vectors.candidates import BLOCK, BOUNDED, LONGEST, Bounded, Nearest, Queries, merged, scores_of
from service.store.vectors.chunk import CHUNK, SMALLEST, Chunk, Floats, Mask, Numbers

# Up to this many rows, a search does without the bounds.
FEW = 1 << 10
# The least number of chunks in each part of a scan.
LEAST_CHUNKS = 2
# Rows whose scores fit into the cache of the processor.
SLICE = 1 << 15
# Queries that share a scan.
TOGETHER = 64


class Index:
    """Gaussians of `dim` dimensions with their numbers. For one thread at a time."""

    def __init__(self, dim: int, pool: Executor | None = None, parts: int = 1) -> None:
        """`pool` runs a long scan in `parts` parts at once."""
        self.dim, self._pool, self._parts = dim, pool, parts
        self._chunks: list[Chunk] = []
        self._firsts: list[int] = []  # the first number of each chunk
        self._last = -1
        self._count = 0

    def __len__(self) -> int:
        """Return the number of rows after the last change. Any thread may call this."""
        return self._count

    # --- changes

    def put(self, numbers: Numbers, mu: Floats, sigma: Floats, has_sigma: Mask) -> None:
        """Add rows, or replace those with the same numbers. Numbers (N,) are ascending; mu and sigma are (N, D)."""
        new = int(np.searchsorted(numbers, self._last, side="right"))
        unknown = np.ones(new, np.bool_)
        for chunk, rows, of in self._locate(numbers[:new]):
            chunk.put(rows, mu[of], sigma[of], has_sigma[of])
            unknown[of] = False
        if unknown.any():
            among = np.flatnonzero(unknown)
            self._insert(numbers[among], mu[among], sigma[among], has_sigma[among])
        while new < len(numbers):
            chunk = self._roomy(int(numbers[new]))
            taken = min(chunk.room - chunk.size, len(numbers) - new)
            part = slice(new, new + taken)
            chunk.append(numbers[part], mu[part], sigma[part], has_sigma[part])
            new += taken
            self._last = int(numbers[new - 1])
        self._recount()

    def _insert(self, numbers: Numbers, mu: Floats, sigma: Floats, has_sigma: Mask) -> None:
        """Insert rows between existing ones, by building those chunks anew."""
        places = np.maximum(np.searchsorted(np.array(self._firsts), numbers, side="right") - 1, 0)
        for place in np.unique(places)[::-1].tolist():  # backwards, since one chunk may become two
            of = places == place
            self._rebuild(place, numbers[of], mu[of], sigma[of], has_sigma[of])

    def _rebuild(self, place: int, numbers: Numbers, mu: Floats, sigma: Floats, has_sigma: Mask) -> None:
        """Replace a chunk by new ones, perhaps none, with its remaining rows and these."""
        chunks = self._chunks[place].joined(numbers, mu, sigma, has_sigma)
        self._chunks[place : place + 1] = chunks
        self._firsts[place : place + 1] = [int(chunk.numbers[0]) for chunk in chunks]
        if not self._chunks:
            self._last = -1

    def remove(self, numbers: Numbers) -> None:
        """Remove rows. Numbers (N,) are ascending; unknown ones are ignored."""
        for chunk, rows, _ in self._locate(numbers):
            chunk.remove(rows)
        nothing = np.empty((0, self.dim), np.float32)
        for place in range(len(self._chunks) - 1, -1, -1):
            if 2 * self._chunks[place].gone > self._chunks[place].size:  # otherwise removed rows would take memory for ever
                self._rebuild(place, np.empty(0, np.int64), nothing, nothing, np.empty(0, np.bool_))
        self._recount()

    def _recount(self) -> None:
        self._count = sum(chunk.size - chunk.gone for chunk in self._chunks)

    def _roomy(self, first: int) -> Chunk:
        if not self._chunks or self._chunks[-1].size == CHUNK:
            self._chunks.append(Chunk(self.dim, CHUNK if self._chunks else SMALLEST))
            self._firsts.append(first)
        elif self._chunks[-1].size == self._chunks[-1].room:
            self._chunks[-1].grow()
        return self._chunks[-1]

    def _locate(self, numbers: Numbers) -> Iterator[tuple[Chunk, Numbers, Numbers]]:
        """Yield (chunk, rows in it, places in `numbers`) for the numbers that are known."""
        start = 0
        while start < len(numbers):
            place = bisect_right(self._firsts, int(numbers[start])) - 1
            end = len(numbers)
            if place + 1 < len(self._firsts):
                end = int(np.searchsorted(numbers, self._firsts[place + 1]))
            if place >= 0:
                chunk = self._chunks[place]
                rows = np.searchsorted(chunk.numbers[: chunk.size], numbers[start:end])
                known = rows < chunk.size
                known[known] = chunk.numbers[rows[known]] == numbers[start:end][known]
                if known.any():
                    yield chunk, rows[known], np.arange(start, end)[known]
            start = end

    # --- searches

    def mask(self, numbers: Numbers) -> list[Mask]:
        """Return a mask for each chunk of the rows that have one of the numbers (N,), which are ascending."""
        masks = [np.zeros(chunk.size, np.bool_) for chunk in self._chunks]
        of = {id(chunk): mask for chunk, mask in zip(self._chunks, masks, strict=True)}
        for chunk, rows, _ in self._locate(numbers):
            of[id(chunk)][rows] = True
        return masks

    def nearest(self, queries: Queries, masks: Sequence[Mask] | None = None) -> list[Nearest]:
        """Return the nearest to each query, by a metric of `service.latents.distances`.

        `masks`: rows that may be found. Metrics that need a sigma find only rows with one.
        """
        selected = self._selected(queries.metric, masks)
        few = sum(int(mask.sum()) for mask in selected) <= FEW
        if few or queries.metric not in BOUNDED or self._too_long(queries):
            return self._scan(lambda places: [self._measure(queries, i, selected, places) for i in range(len(queries.counts))])
        shown = selected if masks is not None else None
        parts = [queries[start : start + TOGETHER] for start in range(0, len(queries.counts), TOGETHER)]
        return [one for part in parts for one in self._scan(partial(self._bound_and_measure, part, shown))]

    def _scan(self, scan: Callable[[range], list[Nearest]]) -> list[Nearest]:
        """Scan all chunks. A long scan is done in parts at once, each by one thread."""
        chunks = len(self._chunks)
        parts = min(self._parts, chunks // LEAST_CHUNKS)
        if self._pool is None or parts < 2:
            return scan(range(chunks))
        found = self._pool.map(scan, [range(i * chunks // parts, (i + 1) * chunks // parts) for i in range(parts)])
        return [merged(own) for own in zip(*found, strict=True)]

    def _too_long(self, queries: Queries) -> bool:
        """Return whether float32 might overflow. No latent of a useful model is that long."""
        squares = np.square(queries.mu, dtype=np.float64).sum(axis=1) + np.square(queries.sigma, dtype=np.float64).sum(axis=1)
        return max([*squares.tolist(), *(chunk.longest for chunk in self._chunks)], default=0.0) > LONGEST

    def _selected(self, metric: str, masks: Sequence[Mask] | None) -> list[Mask]:
        whole = [(c.has_sigma if METRICS[metric].needs_sigma else c.alive)[: c.size] for c in self._chunks]
        return whole if masks is None else [a & b for a, b in zip(whole, masks, strict=True)]

    def rerank(
        self, queries: Queries, candidates: Sequence[int], sigma_weight: float, masks: Sequence[Mask] | None = None
    ) -> list[Nearest]:
        """Search like `nearest`, but only among the `candidates[i]` nearest to query i by w2 with this weight."""
        masks = self._selected(queries.metric, masks)  # rows that the metric cannot measure are no candidates
        by_w2 = replace(queries, metric="w2", counts=candidates, sigma_weight=sigma_weight)
        found = []
        for i, near in enumerate(self.nearest(by_w2, masks)):
            chosen = np.sort(near.numbers[np.lexsort((near.numbers, near.ranks))[: candidates[i]]])
            found.append(self._measure(queries, i, self.mask(chosen), range(len(self._chunks))))
        return found

    def _measure(self, queries: Queries, i: int, selected: Sequence[Mask], places: range) -> Nearest:
        """Scan in float64 for query i."""
        nearest, rank = Nearest(queries.counts[i]), queries.distance.rank
        mu, sigma = queries.mu[i].astype(np.float64), queries.sigma[i].astype(np.float64)
        for place in places:
            chunk, chosen = self._chunks[place], np.flatnonzero(selected[place])
            for start in range(0, len(chosen), BLOCK):
                rows = chosen[start : start + BLOCK]
                others = chunk.mu[rows].astype(np.float64), chunk.sigma[rows].astype(np.float64)
                nearest.add(chunk.numbers[rows], rank(mu, sigma, *others))
        return nearest

    def _bound_and_measure(self, queries: Queries, selected: Sequence[Mask] | None, places: range) -> list[Nearest]:
        """Scan in float32 for candidates, and measure those in float64."""
        bounded = [Bounded(queries, i) for i in range(len(queries.counts))]
        mu, limits = np.stack([one.mu for one in bounded]), np.full(len(bounded), np.inf)
        for place in places:
            chunk, hidden = self._chunks[place], None
            if selected is not None:
                hidden = ~selected[place]
            elif queries.metric == "cosine" and chunk.gone:
                hidden = ~chunk.alive[: chunk.size]
            for start in range(0, chunk.size, SLICE):
                rows = slice(start, min(start + SLICE, chunk.size))
                if hidden is not None and hidden[rows].all():
                    continue
                scores = scores_of(queries, mu, chunk, rows)  # (Q, rows)
                if hidden is not None:
                    np.copyto(scores, np.inf, where=hidden[rows])
                for i in np.flatnonzero(scores.min(axis=1) <= limits).tolist():
                    limits[i] = bounded[i].add(place, chunk, start, scores[i])
        return [one.measure(self._chunks) for one in bounded]
