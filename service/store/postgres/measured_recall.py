"""How many candidates a search has to ask of the HNSW index over all items, by measuring: that depends on the items.

275 candidates found 0.99 of the nearest among a million items of a benchmark, and 0.88 among a million random vectors of 32
numbers. Knows nothing of searches by users.
"""

from bisect import bisect_left
from functools import cache, partial

import numpy as np

from service.store.interface import Floats
from service.store.postgres.graph import OPERATORS, Graph
from service.store.postgres.indexes import Measured
from service.store.postgres.schema import PgConnection, table
from service.store.postgres.work import received, vector
from service.store.vectors.candidates import BLOCK

# The share of the K nearest items that searches promise to find. So few queries are asked that a little more is wanted.
PROMISED, WANTED, K, QUERIES = 0.97, 0.975, 10, 200
# The numbers of candidates to choose from.
CHOICES = (200, 225, 250, 275, 325, 400, 500, 650, 800, 1000)
# Queries lie beside items, by so much of the spread of each dimension, where fewer of the nearest are found than at items.
BESIDE = 0.5
# Such a collection is measured, and once more when it has so many times as many items.
LEAST_ITEMS, GROWN = 5000, 1.5
STREAM = "vae_measured"


def measure(connection: PgConnection, graph: Graph, count: int) -> Measured:
    """Compare what the index finds with exact answers. The connection must be in autocommit mode."""
    queries = _queries(connection, graph, count)
    farthest = _exact(connection, graph, queries)
    recall = cache(partial(_recall, connection, graph, queries, farthest))
    chosen = CHOICES[bisect_left(CHOICES, WANTED, hi=len(CHOICES) - 1, key=recall)]
    return Measured(chosen, recall(chosen), count)


def is_due(before: Measured | None, count: int) -> bool:
    """Return whether to measure a collection with so many items now, for which something may have been measured before."""
    return count >= LEAST_ITEMS and (before is None or not before.items / GROWN < count < before.items * GROWN)


def _queries(connection: PgConnection, graph: Graph, count: int) -> Floats:
    percent, rng = min(100.0, 200.0 * QUERIES / max(count, 1)), np.random.default_rng(0)  # twice as many, about
    sampled = f"SELECT {_sent(graph)} FROM {table(graph.number)} TABLESAMPLE BERNOULLI (%s) REPEATABLE (0)"  # noqa: S608
    rows = connection.execute(sampled, (percent,)).fetchall()
    points = _compared(graph, [rows[i][0] for i in rng.permutation(len(rows))[:QUERIES]])
    beside = rng.standard_normal(points.shape, np.float32) * BESIDE * points.std(0)
    beside[:, graph.dim :] = 0  # sigma must stay positive
    return np.asarray(points + beside, np.float32)


def _exact(connection: PgConnection, graph: Graph, queries: Floats) -> Floats:
    """Return the distance of the K-th nearest item from each query, in one pass over all items."""
    nearest = np.full((len(queries), K), np.inf, np.float32)
    with connection.transaction(), connection.cursor(STREAM, binary=True) as cursor:
        cursor.itersize = BLOCK
        cursor.execute(f"SELECT {_sent(graph)} FROM {table(graph.number)}")  # noqa: S608
        while rows := cursor.fetchmany(BLOCK):
            found = np.hstack([nearest, _distances(graph, queries, _compared(graph, [row[0] for row in rows]))])
            nearest = np.partition(found, K - 1, axis=1)[:, :K]
    return np.asarray(nearest.max(1))


def _recall(connection: PgConnection, graph: Graph, queries: Floats, farthest: Floats, candidates: int) -> float:
    """Return the share of the K nearest that the index finds."""
    by = f"{graph.compared} {OPERATORS[graph.metric]} %s::{graph.type}"
    statement = f"SELECT {_sent(graph)} FROM (SELECT * FROM {table(graph.number)} ORDER BY {by} LIMIT {2 * K}) AS nearest"  # noqa: S608
    hits = 0
    with connection.transaction():
        connection.execute(f"SET LOCAL enable_seqscan = off; SET LOCAL hnsw.ef_search = {candidates}".encode(), prepare=False)
        for query, bound in zip(queries, farthest, strict=True):
            rows = connection.execute(statement, (vector(query),), prepare=False).fetchall()
            found = _distances(graph, query[None], _compared(graph, [row[0] for row in rows]))
            hits += min(K, int(np.count_nonzero(found <= bound * 1.0001 + 1e-5)))
    return hits / (K * max(len(queries), 1))


def _sent(graph: Graph) -> str:
    return f"vector_send({'both_' if graph.metric == 'w2' else 'mu'})"


def _compared(graph: Graph, payloads: list[bytes]) -> Floats:
    """Return vectors as the metric compares them."""
    rows = received(payloads, graph.width)
    if graph.metric == "w2":
        rows[:, graph.dim :] *= np.float32(graph.sigma_weight)
    return rows


def _distances(graph: Graph, queries: Floats, rows: Floats) -> Floats:
    """Return squared distances (N, M), or those by cosine."""
    if graph.metric == "cosine":
        queries, rows = (one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-30) for one in (queries, rows))
        return 1 - queries @ rows.T
    squares = np.square(queries).sum(1)[:, None] + np.square(rows).sum(1)
    found: Floats = np.maximum(squares - 2 * queries @ rows.T, 0)
    return found
