"""Searches in PostgreSQL: with the approximate index, or exact, by measuring every matching item in float64.

Knows nothing of pools or retries.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from service.store.interface import Collection, Floats, Found, Neighbors, Search
from service.store.postgres.filters import pgvector_where
from service.store.postgres.known_keys import unknown_keys
from service.store.postgres.schema import PgConnection, compared, indexed, table
from service.store.postgres.work import ITEM, as_items, find, get, received, vector
from service.store.sqlite.search import gaussians, in_order, own_id
from service.store.vectors.candidates import BLOCK, Nearest

# hnsw.ef_search, the candidates of the index: this factor times k, and its bounds.
EF_FACTOR, EF_LEAST, EF_MOST = 4, 100, 1000
OPERATORS = {"l2": "<->", "cosine": "<=>", "w2": "<->"}
STREAM = "vae_search"


def search(connection: PgConnection, name: str, digest: str, wanted: Search) -> Found:
    """Answer all queries from one state of the database."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    number, collection = find(connection, name, digest)
    mu, sigma = gaussians(wanted, collection, lambda ids: get(connection, name, ids))
    unknown = unknown_keys(connection, number, collection, wanted.filter, wanted.strict)
    where, parameters = pgvector_where(wanted.filter)
    has_index = wanted.metric == indexed(collection.metric) and wanted.sigma_weight == collection.sigma_weight
    by_index = wanted.candidates is None and not wanted.exact and has_index
    if wanted.distance.needs_sigma:
        where += " AND has_sigma"
    task = _Task(connection, number, collection, wanted, where, parameters)
    if by_index or wanted.candidates is not None:
        ordered_by = wanted.metric if by_index else "w2"
        neighbors = [task.nearest_of(i, mu[i], sigma[i], ordered_by) for i in range(len(mu))]
    else:
        neighbors = task.exact(mu, sigma)
    return Found(neighbors, not by_index and wanted.candidates is None, collection.seq, unknown)


class _Task:
    """One search in one transaction."""

    def __init__(
        self, connection: PgConnection, number: int, collection: Collection, wanted: Search, where: str, parameters: list[Any]
    ) -> None:
        self.connection, self.table, self.dim, self.wanted = connection, table(number), collection.dim, wanted
        self.where, self.parameters, self.count = where, parameters, collection.count
        self.sigma_weight = collection.sigma_weight

    def nearest_of(self, i: int, mu: Floats, sigma: Floats, metric: str, scanning: bool = False) -> Neighbors:
        """Let the database find the nearest to query i by l2, cosine or the collection's w2, and measure those in float64.

        `scanning`: without the index.
        """
        limit = self.wanted.candidates or self.wanted.k
        width = min(max(EF_FACTOR * limit, EF_LEAST), EF_MOST)
        self.connection.execute(f"SET LOCAL hnsw.ef_search = {width}")
        self.connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        self.connection.execute(f"SET LOCAL enable_indexscan = {'off' if scanning else 'on'}")
        weight = np.float32(self.sigma_weight)
        query = np.concatenate([mu, weight * sigma]) if metric == "w2" else mu
        by = f"{compared(metric, self.dim, self.sigma_weight)} {OPERATORS[metric]} %s::vector"
        excluded = own_id(self.wanted, i)
        others, own = ("", []) if excluded is None else (" AND id <> %s", [excluded])
        rows = self.connection.execute(
            f"SELECT {ITEM} FROM {self.table} WHERE true{self.where}{others} "  # noqa: S608
            f"ORDER BY {by} LIMIT %s",
            (*self.parameters, *own, vector(query), limit),
        ).fetchall()
        # The index may stop before it has found all that match.
        if len(rows) < min(limit, self.count - len(own)) and not scanning:
            return self.nearest_of(i, mu, sigma, metric, scanning=True)
        return self._nearest(rows, mu, sigma)

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
