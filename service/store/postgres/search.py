"""Searches in PostgreSQL: with the indexes of vectors, or exact, by measuring every matching item in float64.

Knows nothing of pools or retries.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from service.store.filters import Condition
from service.store.interface import Collection, Floats, Found, Neighbors, Search
from service.store.postgres.filters import pgvector_where
from service.store.postgres.graph import HALF_MOST, Graph, indexed, is_of_numbers
from service.store.postgres.indexes import Indexes, Pieces, indexes
from service.store.postgres.known_keys import unknown_keys
from service.store.postgres.schema import PgConnection, table
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
# If the index of a key finds at most so many items, by the planner's estimate, all of them are measured: 10,000 take 13 to 19
# ms. The first number is for doing so at once, the second one for doing so where the first candidates are too few.
MEASURED_AT_ONCE, MEASURED = 5_000, 30_000
# An `in` with more values than this is not searched value by value.
FEW_VALUES = 4
# What ways of searching cost, in vectors of a flat index that are read in the same time: an HNSW index of a value, that of a
# wide interval, the one over all items, and measuring the items of a rare value.
GRAPH_COST, WIDE_COST, WHOLE_COST, RARE_COST = 35_000, 28_000, 65_000, 5_000
# Memory for sorting what flat indexes have: without it they would be sorted in files.
SORT_MEMORY = "32MB"
# Indexes of vectors to ask, with the conditions that each adds to the filter.
Ways = list[tuple[Graph | None, tuple[Condition, ...]]]
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
        self.passing = math.inf
        self.instead: dict[Graph, tuple[Graph, ...]] = {}  # the flat indexes that have what those of wide intervals may miss

    def nearest_of(self, i: int, mu: Floats, sigma: Floats) -> Neighbors:
        """Let the database find the nearest to query i by l2, cosine or the collection's w2, and measure those in float64."""
        there, candidates = self.there, self.wanted.candidates
        if candidates is not None or there is None:
            graph = there.graph if there and there.graph.metric == "w2" and there.has_graph else self.plain
            return self._nearest(self._found(i, mu, sigma, graph, candidates or self.wanted.k), mu, sigma)
        first, last = self._ways(there)
        limit = self.wanted.k + min(self.wanted.k, MORE)
        for ways, is_last in ((first, False), (last, True)):
            found = (row for graph, one in ways for row in self._of_way(i, mu, sigma, graph, limit, one, is_last))
            rows = {row[0]: row for row in found}
            if len(rows) >= self._enough(limit):
                break
        return self._nearest(list(rows.values()), mu, sigma)

    def _ways(self, there: Indexes) -> tuple[Ways, Ways]:
        """Return the indexes to try first, if any, and those that are asked for all that pass where the first find too few.

        None stands for no index of vectors: all items are measured that an index of a key finds, by a rare value or a narrow
        range. Every condition of the filter with indexes is a way, and so is the index over all items.
        """
        by_value: list[tuple[float, Ways]] = []
        for condition in self.wanted.filter:
            if condition.operator not in ("eq", "in") or not there.has_key(condition.key):
                continue
            values = condition.value if condition.operator == "in" else (condition.value,)
            if 1 <= len(values) <= FEW_VALUES:
                ones = [Condition(condition.key, "eq", value) for value in values]
                parts = [there.part(one) for one in ones]
                ways: Ways = [(part, (one,)) for part, one in zip(parts, ones, strict=True)]
                by_value.append((sum(self._cost(there, part) for part in parts), ways))
        by_range: list[tuple[float, Ways]] = []
        for key in {one.key: None for one in self.wanted.filter if is_of_numbers(one)}:
            pieces = there.within([one for one in self.wanted.filter if one.key == key and is_of_numbers(one)])
            if pieces is not None:
                by_range.append(self._way_over(there, pieces))
        sorted_ways = sorted(by_value + by_range, key=lambda way: way[0])
        cost, best = sorted_ways[0] if sorted_ways else (math.inf, [])
        if best and (by_value or cost <= WHOLE_COST):
            others = [ways for cost, ways in sorted_ways[1:] if cost <= 2 * WHOLE_COST]
            is_complete = all(graph is None or graph.flat or graph in self.instead for graph, _ in best)
            return ([] if is_complete or not others else best), (best if is_complete or not others else others[0])
        if best:
            return [(there.graph, ())], best
        self.passing = self._estimate()
        return [], [(None if self.passing <= MEASURED_AT_ONCE else there.graph, ())]

    def _way_over(self, there: Indexes, pieces: Sequence[Pieces]) -> tuple[float, Ways]:
        """Return the cost of looking at a range, and the indexes: wide ones instead of several flat ones."""
        ways, cost = Ways(), 0.0
        for piece in pieces:
            if piece.wide is not None and len(piece.flat) > 1:
                self.instead[piece.wide] = piece.flat
                ways.append((piece.wide, piece.wide.part))
                cost += WIDE_COST
            else:
                ways += [(graph, graph.part) for graph in piece.flat]
                cost += sum(map(there.size, piece.flat))
        return cost, ways

    def _of_way(
        self, i: int, mu: Floats, sigma: Floats, graph: Graph | None, limit: int, added: tuple[Condition, ...], is_last: bool
    ) -> list[tuple[Any, ...]]:
        """Return what `_found` does. Where too few candidates of a wide interval pass, its flat indexes are read."""
        if graph is None or graph not in self.instead:
            return self._found(i, mu, sigma, graph, limit, added, is_last)
        rows = self._found(i, mu, sigma, graph, limit, added, is_last=False)
        if len(rows) >= self._enough(limit):
            return rows
        return [row for one in self.instead[graph] for row in self._found(i, mu, sigma, one, limit, one.part)]

    def _enough(self, limit: int) -> int:
        """Return how many of the first candidates have to pass, so that no others are looked for."""
        return min(math.ceil(ENOUGH * self.wanted.k), limit)

    @staticmethod
    def _cost(there: Indexes, part: Graph | None) -> float:
        """Return about how many vectors of a flat index are read in the time of a part; None stands for a rare value."""
        if part is None:
            return RARE_COST
        return there.size(part) if part.flat else GRAPH_COST

    def _estimate(self) -> float:
        """Return about how many items pass the filter if an index of a key finds them, else infinity."""
        if self.there is None or not any(map(self.there.has_range, self.wanted.filter)):
            return math.inf
        statement = f"EXPLAIN (FORMAT JSON) SELECT FROM {self.table} WHERE true{self.where}"
        [(plans,)] = self.connection.execute(statement, self.parameters, prepare=False)
        return float(plans[0]["Plan"]["Plan Rows"])

    def _found(
        self,
        i: int,
        mu: Floats,
        sigma: Floats,
        graph: Graph | None,
        limit: int,
        added: tuple[Condition, ...] = (),
        is_last: bool = True,
    ) -> list[tuple[Any, ...]]:
        """Return the rows of the items that are nearest to query i, about; all that match if they are fewer than the limit.

        `is_last`: if not, only the first candidates of the index are looked at.
        """
        spelled = graph or self._plain_of()
        excluded = own_id(self.wanted, i)
        own, ids = ("", []) if excluded is None else (" AND id <> %s", [excluded])
        more, values = pgvector_where(added)
        parameters = [*self.parameters, *values, *ids]
        weight = np.float32(self.sigma_weight)
        query = np.concatenate([mu, weight * sigma]) if spelled.metric == "w2" else mu
        most = self.count - (excluded is not None)
        few = limit if self.wanted.candidates else self._enough(limit)
        ways = [("candidates", few), ("further", limit), ("all", 0)]
        if graph and graph.flat:  # one of cosines lacks means without a direction
            ways = [("flat", limit if graph.metric == "cosine" else 0), ("all", 0)]
        rows: list[tuple[Any, ...]] = []
        for way, enough in (ways if graph else ways[2:]) if is_last else ways[:1]:
            # Further away, the index misses many of the few that pass.
            if way == "further" and (not rows or self.passing <= MEASURED):
                continue
            where = self.where
            if way == "all":  # the stored numbers need no conversion
                spelled = replace(spelled, half=False, part=(), flat=False)
            elif added:  # in this form only what is added says which index of a part can be used
                where = f" AND coalesce((true{where}), false)"
            by = f"{spelled.compared} {OPERATORS[spelled.metric]} %s::{spelled.type}"
            nearest = f"SELECT * FROM {self.table} WHERE true{where}{more}{own} ORDER BY {by} LIMIT %s"  # noqa: S608
            statement = f"SELECT {ITEM} FROM ({nearest}) AS nearest"  # noqa: S608 - only those are converted
            self._set(limit, way, graph, is_last)
            # A plan for any parameters, which psycopg could prepare, has no use for the index of one value.
            rows = self.connection.execute(statement, (*parameters, vector(query), limit), prepare=False).fetchall()
            if len(rows) >= min(enough, most):
                break
        return rows

    def _plain_of(self) -> Graph:
        """Return what to order by without an index."""
        return self.plain if self.wanted.metric == "w2" else Graph(self.plain.number, self.wanted.metric, self.dim)

    def _set(self, limit: int, way: str, graph: Graph | None, is_last: bool) -> None:
        """`way`: whether to look at the first candidates of the index, further ones, all that it has, or all items."""
        has_part = graph is not None and bool(graph.part)
        part = EF_WIDE if graph in self.instead else EF_PART if len(self.wanted.filter) == 1 else EF_PART_OF_PART
        least = EF_MOST if way == "further" else part if has_part else EF_LEAST
        is_scan = way == "all"
        settings = {
            "hnsw.ef_search": min(max(EF_FACTOR * self.wanted.k, least), EF_MOST),
            "hnsw.iterative_scan": "relaxed_order" if way == "further" else "off",
            "hnsw.max_scan_tuples": min(max(SCANNED * limit, SCANNED_LEAST), SCANNED_MOST),
            "enable_indexscan": "off" if is_scan else "on",
            "enable_seqscan": "on" if is_scan else "off",
            # The planner thinks that measuring all items of a value or of a wide range is faster than an index of vectors.
            "enable_bitmapscan": "off" if (has_part or not is_last) and not is_scan else "on",
        }
        if way == "flat":
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
