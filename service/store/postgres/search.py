"""Searches in PostgreSQL: with the indexes of vectors, or exact, by measuring every matching item in float64.

Knows nothing of pools or retries.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from service.store.interface import Collection, Floats, Found, Neighbors, Search
from service.store.postgres.filters import pgvector_where
from service.store.postgres.graph import HALF_MOST, WITHOUT_DIRECTION, Graph, indexed, predicate
from service.store.postgres.indexes import Indexes, indexes
from service.store.postgres.known_keys import unknown_keys
from service.store.postgres.schema import PgConnection, table
from service.store.postgres.ways import Way, choose
from service.store.postgres.work import ITEM, as_items, find, get, received, vector
from service.store.sqlite.search import gaussians, in_order, own_id
from service.store.vectors.candidates import BLOCK, Nearest

# hnsw.ef_search, the candidates of the index: this factor times k, and its bounds. An index of one value has its own least.
# It has another least if there are further conditions, and that of a wide interval has a third one.
EF_FACTOR, EF_LEAST, EF_PART, EF_PART_OF_PART, EF_WIDE, EF_MOST = 4, 275, 325, 525, 250, 1000
# The index finds twice as many as wanted, but at most so many more, to be measured in float64: they are not quite in order.
MORE = 100
# If fewer candidates than this for each wanted item pass the filter, the most candidates are taken, and the
# index goes on behind them: that finds fewer of the nearest, and more candidates make up for it.
ENOUGH = 1.5
# hnsw.max_scan_tuples: vectors that the index looks at for each item that it shall find, and the bounds. If fewer pass, the
# filter leaves out what is near the query. There the index misses near ones that pass, so all that pass are measured.
SCANNED, SCANNED_LEAST, SCANNED_MOST = 200, 4000, 200_000
# A smaller collection is searched exactly, in at most 2.5 ms on one machine, where the index would take 1.3 ms.
EXACT_BELOW = 1000
# Memory for sorting what flat indexes have: without it they would be sorted in files.
SORT_MEMORY = "32MB"
# The distance by cosine of a mean of length 0 from any other.
NO_DIRECTION = 1.0
OPERATORS = {"l2": "<->", "cosine": "<=>", "w2": "<->"}
STREAM = "vae_search"


def search(connection: PgConnection, name: str, digest: str, wanted: Search) -> Found:
    """Answer all queries from one state of the database."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    number, collection = find(connection, name, digest)
    mu, sigma = gaussians(wanted, collection, lambda ids: get(connection, name, ids))
    unknown = unknown_keys(connection, number, collection, wanted.filter, wanted.strict)
    has_metric = wanted.metric == indexed(collection.metric) and wanted.sigma_weight == collection.sigma_weight
    may_use = wanted.candidates is not None or (not wanted.exact and has_metric and collection.count >= EXACT_BELOW)
    there = indexes(connection, number, collection) if may_use else None
    by_index = wanted.candidates is None and there is not None and there.has_graph and _fits(there.graph, mu, sigma)
    task = _Task(connection, number, collection, wanted, there)
    if by_index or wanted.candidates is not None:
        neighbors = [task.nearest_of(i, mu[i], sigma[i]) for i in range(len(mu))]
    else:
        neighbors = task.exact(mu, sigma)
    return Found(neighbors, not by_index and wanted.candidates is None, collection.seq, unknown)


def _fits(graph: Graph, mu: Floats, sigma: Floats) -> bool:
    """Return whether the type of the index has numbers as large as those of the queries."""
    largest = max(np.abs(mu).max(initial=0), graph.sigma_weight * sigma.max(initial=0))
    return not graph.half or bool(largest <= HALF_MOST)


class _Task:
    """One search in one transaction."""

    def __init__(
        self, connection: PgConnection, number: int, collection: Collection, wanted: Search, there: Indexes | None
    ) -> None:
        self.connection, self.table, self.dim, self.wanted = connection, table(number), collection.dim, wanted
        self.where, self.parameters = pgvector_where(wanted.filter)
        if wanted.distance.needs_sigma:
            self.where += " AND has_sigma"
        self.count, self.sigma_weight = collection.count, collection.sigma_weight
        self.plain = Graph(number, "w2", collection.dim, collection.sigma_weight)
        self.there = there

    def nearest_of(self, i: int, mu: Floats, sigma: Floats) -> Neighbors:
        """Let the database find the nearest to query i by l2, cosine or the collection's w2, and measure those in float64."""
        there, candidates = self.there, self.wanted.candidates
        if candidates is not None or there is None:
            is_of_use = there and there.graph.metric == "w2" and there.has_graph and _fits(there.graph, mu, sigma)
            graph = there.graph if there and is_of_use else self.plain
            return self._nearest(self._found(i, mu, sigma, Way(graph), candidates or self.wanted.k), mu, sigma)
        limit = self.wanted.k + min(self.wanted.k, MORE)
        rows: dict[str, tuple[Any, ...]] = {}
        for ways, is_last in zip(choose(there, self.wanted.filter, self._estimate), (False, True), strict=True):
            found = [self._of_way(i, mu, sigma, way, limit, is_last) for way in ways]
            rows = {row[0]: row for rows in found for row in rows}
            is_enough = [way.is_complete or len(rows) >= self._enough(limit) for way, rows in zip(ways, found, strict=True)]
            if ways and all(is_enough):
                break
        neighbors = self._nearest(list(rows.values()), mu, sigma)
        if self.wanted.metric == "cosine" and (neighbors.distances[-1:] > NO_DIRECTION).any():
            rows |= {row[0]: row for row in self._without_direction(i)}
            neighbors = self._nearest(list(rows.values()), mu, sigma)
        return neighbors

    def _of_way(self, i: int, mu: Floats, sigma: Floats, way: Way, limit: int, is_last: bool) -> list[tuple[Any, ...]]:
        """Return what `_found` does. Where too few candidates of a wide interval pass, its flat indexes are read."""
        if not way.instead:
            return self._found(i, mu, sigma, way, limit, is_last)
        rows = self._found(i, mu, sigma, way, limit, is_last=False)
        if len(rows) >= self._enough(limit):
            return rows
        return [row for flat in way.instead for row in self._found(i, mu, sigma, Way(flat, flat.part), limit)]

    def _enough(self, limit: int) -> int:
        """Return how many of the first candidates have to pass, so that no others are looked for."""
        return min(math.ceil(ENOUGH * self.wanted.k), limit)

    def _estimate(self) -> float:
        """Return about how many items pass the filter if an index of a key finds them, else infinity."""
        if self.there is None or not any(map(self.there.has_range, self.wanted.filter)):
            return math.inf
        statement = f"EXPLAIN (FORMAT JSON) SELECT FROM {self.table} WHERE true{self.where}"
        [(plans,)] = self.connection.execute(statement, self.parameters, prepare=False)
        return float(plans[0]["Plan"]["Plan Rows"])

    def _found(self, i: int, mu: Floats, sigma: Floats, way: Way, limit: int, is_last: bool = True) -> list[tuple[Any, ...]]:
        """Return the rows of the items that are nearest to query i, about; all that match if they are fewer than the limit.

        `is_last`: if not, only the first candidates of the index are looked at.
        """
        graph, few = way.graph, limit if self.wanted.candidates else self._enough(limit)
        excluded = own_id(self.wanted, i)
        most = self.count - (excluded is not None)
        # What is looked at, and how many rows are enough.
        steps = [("candidates", few), ("further", limit), ("all", 0)]
        if graph is None:
            steps = [("all", 0)]
        elif graph.flat:  # one of cosines lacks means without a direction
            steps = [("flat", limit if graph.metric == "cosine" else 0), ("all", 0)]
        rows: list[tuple[Any, ...]] = []
        for step, enough in steps if is_last else steps[:1]:
            # Further away, the index misses many of the few that pass.
            if step == "further" and (not rows or way.is_narrow):
                continue
            # With hundreds of indexes a plan takes up to a millisecond. It is kept where neither a parameter nor a setting
            # has an influence on it.
            is_kept = step != "all" and (bool(graph and graph.part) or not self.wanted.filter)
            self._set(limit, step, way, is_last, is_kept)
            statement, parameters = self._statement(mu, sigma, way, step, limit, excluded)
            rows = self.connection.execute(statement, parameters, prepare=is_kept).fetchall()
            if len(rows) >= min(enough, most):
                break
        return rows

    def _without_direction(self, i: int) -> list[tuple[Any, ...]]:
        """Return items with means of length 0, which no index of cosines has. All are as far, so those with the least ids."""
        excluded = own_id(self.wanted, i)
        own, parameters = (" AND id <> %s", [excluded]) if excluded is not None else ("", [])
        self.connection.execute(b"SET LOCAL enable_indexscan = on; SET LOCAL enable_seqscan = on", prepare=False)
        statement = f"SELECT {ITEM} FROM {self.table} WHERE {WITHOUT_DIRECTION}{self.where}{own} ORDER BY id LIMIT %s"  # noqa: S608
        return self.connection.execute(statement, [*self.parameters, *parameters, self.wanted.k], prepare=False).fetchall()

    def _statement(
        self, mu: Floats, sigma: Floats, way: Way, step: str, limit: int, excluded: str | None
    ) -> tuple[bytes, list[Any]]:
        graph = way.graph or (self.plain if self.wanted.metric == "w2" else replace(self.plain, metric=self.wanted.metric))
        where, (more, values) = self.where, pgvector_where(way.added)
        if step == "all":  # the stored numbers need no conversion
            graph = replace(graph, half=False, part=(), flat=False)
        elif graph.part:  # in this form only what is added says which index of a part can be used, whatever the parameters
            where = f" AND coalesce((true{where}), false)"
            more, values = f" AND {predicate(self.connection, way.added)}".replace("%", "%%"), []
        by = f"{graph.compared} {OPERATORS[graph.metric]} %s::{graph.type}"
        if step == "all" and graph.metric == "cosine":
            # `<=>` is NaN for a mean of length 0, and for a very short one.
            unit = f"l2_normalize({graph.compared}) <-> l2_normalize(%s::vector)"
            by = f"CASE WHEN {WITHOUT_DIRECTION} THEN sqrt(2) ELSE {unit} END"
        if excluded is not None:
            more, values = f"{more} AND id <> %s", [*values, excluded]
        query = np.concatenate([mu, np.float32(self.sigma_weight) * sigma]) if graph.metric == "w2" else mu
        nearest = f"SELECT * FROM {self.table} WHERE true{where}{more} ORDER BY {by} LIMIT {limit}"  # noqa: S608
        statement = f"SELECT {ITEM} FROM ({nearest}) AS nearest"  # noqa: S608 - only those are converted
        return statement.encode(), [*self.parameters, *values, vector(query)]

    def _set(self, limit: int, step: str, way: Way, is_last: bool, is_kept: bool) -> None:
        """`step`: whether to look at the first candidates of the index, further ones, all that it has, or all items."""
        has_part = way.graph is not None and bool(way.graph.part)
        part = EF_WIDE if way.instead else EF_PART if len(self.wanted.filter) == 1 else EF_PART_OF_PART
        least = EF_MOST if step == "further" else part if has_part else EF_LEAST
        is_scan = step == "all"
        settings = {
            "hnsw.ef_search": min(max(EF_FACTOR * self.wanted.k, least), EF_MOST),
            "hnsw.iterative_scan": "relaxed_order" if step == "further" else "off",
            "hnsw.max_scan_tuples": min(max(SCANNED * limit, SCANNED_LEAST), SCANNED_MOST),
            "plan_cache_mode": "force_generic_plan" if is_kept else "auto",
            "enable_indexscan": "off" if is_scan else "on",
            "enable_seqscan": "on" if is_scan else "off",
            # The planner thinks that measuring all items of a value or of a wide range is faster than an index of vectors.
            "enable_bitmapscan": "off" if (has_part or not is_last) and not is_scan else "on",
        }
        if step == "flat":
            settings["work_mem"] = f"'{SORT_MEMORY}'"
        statements = "; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items())
        self.connection.execute(statements.encode(), prepare=False)

    def exact(self, mu: Floats, sigma: Floats) -> list[Neighbors]:
        """Measure every matching item."""
        chosen = self._scan(mu, sigma)
        rows = self._rows(chosen)
        return [
            Neighbors(as_items([rows[id] for id in names], self.dim, self.wanted.with_vectors), distances)
            for names, distances in chosen
        ]

    def _nearest(self, rows: Sequence[tuple[Any, ...]], mu: Floats, sigma: Floats) -> Neighbors:
        ranks = self._ranks(mu, sigma, received([row[3] for row in rows], 2 * self.dim))
        order = in_order([row[0] for row in rows], ranks, self.wanted.k)
        distances = self.wanted.distance.of_rank(ranks[order])
        return Neighbors(as_items([rows[i] for i in order], self.dim, self.wanted.with_vectors), distances)

    def _ranks(self, mu: Floats, sigma: Floats, both: Floats) -> Any:
        doubles = both.astype(np.float64)
        others = doubles[:, : self.dim], doubles[:, self.dim :]
        return self.wanted.distance.rank(mu.astype(np.float64), sigma.astype(np.float64), *others)

    def _scan(self, mu: Floats, sigma: Floats) -> list[tuple[list[str], Any]]:
        """Return (ids, distances) of the nearest to each query. Every matching item is read once, for all queries."""
        ids: list[str] = []
        excluded = [own_id(self.wanted, i) for i in range(len(mu))]
        nearest = [Nearest(self.wanted.k + (id is not None)) for id in excluded]
        with self.connection.cursor(STREAM, binary=True) as cursor:
            cursor.itersize = BLOCK
            statement = f"SELECT id, vector_send(both_) FROM {self.table} WHERE true{self.where}"  # noqa: S608
            cursor.execute(statement, self.parameters)
            while rows := cursor.fetchmany(BLOCK):
                both, numbers = received([row[1] for row in rows], 2 * self.dim), np.arange(len(ids), len(ids) + len(rows))
                ids += [row[0] for row in rows]
                for i, one in enumerate(nearest):
                    one.add(numbers, self._ranks(mu[i], sigma[i], both))
        chosen = []
        for one, own in zip(nearest, excluded, strict=True):
            names = [ids[number] for number in one.numbers.tolist()]
            order = in_order(names, one.ranks, self.wanted.k, own)
            chosen.append(([names[i] for i in order], self.wanted.distance.of_rank(one.ranks[order])))
        return chosen

    def _rows(self, chosen: Sequence[tuple[list[str], Any]]) -> dict[str, tuple[Any, ...]]:
        """Return the rows of what `_scan` has chosen, by id."""
        ids = sorted({id for names, _ in chosen for id in names})
        rows = self.connection.execute(f"SELECT {ITEM} FROM {self.table} WHERE id = ANY(%s)", (ids,))  # noqa: S608
        return {row[0]: row for row in rows}
