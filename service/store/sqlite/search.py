"""Searches of the sqlite store: the vectors of each collection are in memory, and updated from the file before each search.

One thread uses this; it has a pool for long scans. Knows nothing of requests.
"""

import itertools
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from service.latents.distances import METRICS, Doubles
from service.store.interface import BadItem, Collection, Found, Items, Neighbors, Query, Search, StoreError, UnknownItem
from service.store.sqlite.file import SqliteFile
from service.store.sqlite.known_keys import unknown_keys
from service.store.sqlite.reads import all_vectors, as_items, by_number, changed_vectors, forgotten, get, matching
from service.store.sqlite.writes import find
from service.store.vectors.candidates import BOUNDED, Nearest, Queries
from service.store.vectors.chunk import Floats
from service.store.vectors.index import Index
from service.thread_pool import thread_pool

# Pairs of a query and a row that take about a second: with bounds in float32, and measured in float64.
MOST_BOUNDED, MOST_MEASURED = 1 << 27, 1 << 22
_Gathered = tuple[Search, Floats, Floats]  # a search, and mu and sigma of its queries, (Q, D) each


@dataclass(slots=True)
class _Known:
    """The vectors of a collection in memory, up to date with the sequence number `seq`."""

    number: int
    index: Index
    seq: int


class SqliteSearch:
    """The vectors of all collections of a file, in memory."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._parts = os.cpu_count() or 1
        self._pool = thread_pool(self._parts, "store scan")
        self._known: dict[str, _Known] = {}
        self._version = -1

    def close(self) -> None:
        """End the threads of the pool."""
        self._pool.shutdown()

    def load(self) -> None:
        """Read all vectors. Raises NoFileYet, StoreError."""
        with self._file.reading() as connection:
            self._forget_dropped(connection)
            for name, number, dim, seq in connection.execute("SELECT name, number, dim, seq FROM collections").fetchall():
                self._refresh(connection, name, number, dim, seq)

    def queries_a_turn(self, name: str, search: Search) -> int:
        """Return how many queries can be answered at once without delaying other callers. Any thread may call this."""
        known = self._known.get(name)
        return max(
            1, (MOST_BOUNDED if search.metric in BOUNDED else MOST_MEASURED) // max(1, len(known.index) if known else 0)
        )

    def search(self, name: str, digest: str, searches: Sequence[Search]) -> list[Found | StoreError]:
        """Answer searches of one collection that differ only in queries and k. A bad search gets its error as the result."""
        with self._file.reading() as connection:
            self._forget_dropped(connection)
            number, collection = find(connection, name, digest)
            index = self._refresh(connection, name, number, collection.dim, collection.seq)
            gathered: list[_Gathered | StoreError] = []
            for search in searches:
                try:
                    gathered.append((search, *gaussians(search, collection, lambda ids: get(connection, name, ids))))
                except StoreError as error:
                    gathered.append(error)
            good = [one for one in gathered if isinstance(one, tuple)]
            found = iter(self._find(connection, number, collection, index, good) if good else ())
            return [next(found) if isinstance(one, tuple) else one for one in gathered]

    def _find(
        self, connection: sqlite3.Connection, number: int, collection: Collection, index: Index, good: Sequence[_Gathered]
    ) -> list[Found]:
        like = good[0][0]  # the others have the same options
        unknown = unknown_keys(connection, number, collection, like.filter, like.strict)
        masks = index.mask(matching(connection, number, like.filter)) if like.filter else None
        mu, sigma = (np.concatenate([one[i] for one in good]) for i in (1, 2))
        excluded = [own_id(search, i) for search, own, _ in good for i in range(len(own))]
        extra = [id is not None for id in excluded]  # one more is found for each item that is left out afterwards
        wanted = [search.k for search, own, _ in good for _ in own]
        counts = [count + more for count, more in zip(wanted, extra, strict=True)]
        queries = Queries(like.metric, mu, sigma, counts, like.sigma_weight)
        if like.candidates is None:
            nearest = index.nearest(queries, masks)
        else:
            nearest = index.rerank(queries, [like.candidates + more for more in extra], collection.sigma_weight, masks)
        numbers = sorted({int(number) for one in nearest for number in one.numbers})
        with_vectors = any(search.with_vectors for search, _, _ in good)
        rows = by_number(connection, numbers, with_vectors)
        left, answers = iter(zip(nearest, excluded, strict=True)), []
        for search, own, _ in good:
            neighbors = [_neighbors(search, *one, rows, collection.dim) for one in itertools.islice(left, len(own))]
            answers.append(Found(neighbors, like.candidates is None, collection.seq, unknown))
        return answers

    def _refresh(self, connection: sqlite3.Connection, name: str, number: int, dim: int, seq: int) -> Index:
        """Return the index of a collection, updated to the state of this transaction."""
        known = self._known.get(name)
        if known is None or known.number != number or known.seq < forgotten(connection, number):
            known = self._known[name] = _Known(number, Index(dim, self._pool, self._parts), -1)
        if known.seq == seq:
            return known.index
        try:
            is_new = known.seq < 0
            changed = all_vectors(connection, number, dim) if is_new else [changed_vectors(connection, number, dim, known.seq)]
            for vectors in changed:
                known.index.put(vectors.numbers, vectors.mu, vectors.sigma, vectors.has_sigma)
                known.index.remove(vectors.gone)
        except BaseException:
            self._known.pop(name)  # a half-updated index is of no use
            raise
        known.seq = seq
        return known.index

    def _forget_dropped(self, connection: sqlite3.Connection) -> None:
        """Free the memory of collections that were dropped."""
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            there = {number for (number,) in connection.execute("SELECT number FROM collections")}
            self._known = {name: known for name, known in self._known.items() if known.number in there}
            self._version = version


def gaussians(search: Search, collection: Collection, get: Callable[[Sequence[str]], Items]) -> tuple[Floats, Floats]:
    """Return mu and sigma of a search's queries, (Q, D) each. `get` finds items by id. Raises UnknownItem, BadItem."""
    stored: dict[str | None, Query] = {}
    if ids := list(dict.fromkeys(query.id for query in search.queries if query.id is not None)):
        items = get(ids)
        stored = {id: Query(items.mu[i], items.sigma[i] if items.has_sigma[i] else None) for i, id in enumerate(items.ids)}
    mu, sigma = (np.zeros((len(search.queries), collection.dim), np.float32) for _ in range(2))
    for i, query in enumerate(search.queries):
        if query.id is not None and query.id not in stored:
            raise UnknownItem(collection.name, query.id)
        own = stored.get(query.id, query)
        for rows, row in ((mu, own.mu), (sigma, own.sigma)):
            if row is not None and row.shape != (collection.dim,):
                raise BadItem(
                    f"a vector has shape {row.shape}; the collection {collection.name!r} needs ({collection.dim},)", i
                )
            rows[i] = 0 if row is None else row
        if METRICS[search.metric].needs_sigma and own.sigma is None:
            raise BadItem(f"the metric {search.metric} needs a sigma; use l2, cosine or w2 for a vector without one", i)
    return mu, sigma


def own_id(search: Search, i: int) -> str | None:
    """Return the id of the item that is not among the neighbors of query i, if there is one."""
    return search.queries[i].id if search.exclude_self else None


def in_order(ids: Sequence[str], ranks: Doubles, count: int, excluded: str | None = None) -> list[int]:
    """Return the indices of the `count` nearest without the `excluded` one, ties sorted by id."""
    return sorted((i for i in range(len(ids)) if ids[i] != excluded), key=lambda i: (ranks[i], ids[i]))[:count]


def _neighbors(
    search: Search, nearest: Nearest, excluded: str | None, rows: dict[int, tuple[object, ...]], dim: int
) -> Neighbors:
    found = [rows[number] for number in nearest.numbers.tolist()]
    most = min(search.k, search.candidates or search.k)  # One more was measured if the excluded one is not among them.
    order = in_order([str(row[0]) for row in found], nearest.ranks, most, excluded)
    distances = search.distance.of_rank(nearest.ranks[order])
    return Neighbors(as_items([found[i] for i in order], dim, search.with_vectors), distances)
