"""Make the indexes of a large collection in PostgreSQL while it is used: those of vectors, and those of keys for filters.

Each index is made concurrently, so that items can be added and found meanwhile. If this is ended at any moment, what is
finished stays and is used; the next call removes what is not, and goes on. Knows nothing of the command line.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import psycopg

from service.store.filters import usable_key
from service.store.interface import BadItem, Collection, StoreBusy, StoreError, StoreUnavailable, StoreUnusable
from service.store.postgres.filters import ordered, place
from service.store.postgres.graph import (
    FLAT,
    HALF,
    HALF_MOST,
    MAX_INDEXED,
    Graph,
    comment,
    directionless_index,
    directionless_statement,
    key_index,
    key_statement,
    range_index,
    range_statement,
)
from service.store.postgres.indexes import Indexes, indexes, measured_comment
from service.store.postgres.key_plan import KeyPlan, Planner
from service.store.postgres.measured_recall import PROMISED, K, is_due, measure
from service.store.postgres.schema import LOCK, PgConnection, migrate, table
from service.store.postgres.work import find

# What a name ends with if the index is over a part of the items; a weight has more digits.
PART = re.compile("_[0-9a-f]{12}$")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What indexes a collection shall have."""

    half: bool | None = None  # 16-bit numbers (halfvec) in HNSW indexes; None leaves it as it is
    keys: Sequence[str] = ()  # keys of filters with single values; if no key is named, those are found that filters may use
    range_keys: Sequence[str] = ()  # keys of filters with ranges of numbers
    memory: str = "1GB"  # maintenance_work_mem
    workers: int = 2  # processes that make an index: one, and max_parallel_maintenance_workers
    no_graphs: bool = False  # drop all vector indexes: before a bulk load
    no_keys: bool = False  # make indexes for the keys that are named, and for no others


def build_indexes(address: str, name: str, wanted: Wanted, tell: Callable[[str], None]) -> None:
    """Make the indexes that are wanted and are not there, and drop those that are not. `tell` gets a line for each.

    Raises UnknownCollection, StoreError, StoreBusy, StoreUnavailable, StoreUnusable.
    """
    for key in (*wanted.keys, *wanted.range_keys):
        if not usable_key(key):
            raise StoreError(f"{key[:80]!r} is not a key of a filter; docs/http.md says what keys may be")
    try:
        opened = psycopg.connect(address, autocommit=True)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the database cannot be reached, so no index was changed: {error}") from error
    try:
        with closing(opened) as connection:
            migrate(connection)
            number, _ = find(connection, name)
            [(is_free,)] = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK, number))
            if not is_free:
                raise StoreBusy(
                    f"another command makes indexes of the collection {name!r}, or one that was ended still does in the "
                    "database (pg_stat_progress_create_index); try again when it has finished"
                )
            locked, collection = find(connection, name)  # Until now its metric could change.
            if locked != number:
                raise StoreError(f"the collection {name!r} was deleted meanwhile, and made anew; run the same command again")
            _set(connection, "maintenance_work_mem", wanted.memory, f"the memory {wanted.memory!r}")
            workers = "max_parallel_maintenance_workers"
            _set(
                connection, workers, str(wanted.workers - 1), f"{wanted.workers} workers (a process, and {workers} beside it)"
            )
            _Builder(connection, number, collection, wanted, tell).build()
            # The end of a connection releases it, too, but some time later: the next command would find it taken.
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK, number))
    except psycopg.errors.NumericValueOutOfRange as error:
        raise BadItem(f"an item has a number above {HALF_MOST:g}; use --numbers float32") from error
    except psycopg.errors.UndefinedTable as error:
        raise StoreError(f"the collection {name!r} was deleted meanwhile") from error
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise StoreUnusable(f"the database is not writable: {error}") from error
    except psycopg.Error as error:
        raise StoreUnavailable(f"the indexes could not be finished, run the same command again to go on: {error}") from error


def _set(connection: PgConnection, name: str, value: str, what: str) -> None:
    try:
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    except psycopg.errors.InvalidParameterValue as error:
        raise StoreError(f"PostgreSQL does not accept {what}: {error}") from error


class _Builder:
    """The work for one collection."""

    def __init__(
        self, connection: PgConnection, number: int, collection: Collection, wanted: Wanted, tell: Callable[[str], None]
    ) -> None:
        self.connection, self.number, self.collection = connection, number, collection
        self.wanted, self.tell = wanted, tell
        self.made = self.kept = self.dropped = 0
        self.lacks_key = False  # one of those that the command names

    def build(self) -> None:
        """Do the work."""
        there = indexes(self.connection, self.number, self.collection)
        for name in sorted(there.invalid):
            self._drop(name, ", whose making was cut off")
        if self.wanted.no_graphs:
            for name in sorted(there.graphs - there.invalid):
                self._drop(name)
            numbers = " and with --numbers float16" if there.graph.half and there.has_graph else ""
            self.tell(
                f"done; vector indexes dropped: {self.dropped}. Searches are exact now, and slow in a large collection; run "
                f"the command again without --drop{numbers} after loading"
            )
            return
        graph = there.graph if self.wanted.half is None else replace(there.graph, half=self.wanted.half)
        if not graph.is_possible:
            most = MAX_INDEXED[graph.type]
            raise StoreError(
                f"an index of {graph.type}s has at most {most} dimensions, and this collection needs {graph.width}"
                + ("" if graph.half else "; --numbers float16 allows 4000")
            )
        valid = set(there.valid)
        is_new = graph.name not in valid
        self._make(graph.name, graph.statement(self.connection, True), "HNSW index over all items", valid)
        if is_due(None if is_new else there.measured, self.collection.count):
            self._measure(graph)
        if graph.metric == "cosine":
            statement = directionless_statement(self.number, True)
            self._make(directionless_index(self.number), statement, "index of the means of length 0", valid)
        planner = Planner(self.connection, there, graph, self.collection.count, self.tell)
        is_named = self.wanted.keys or self.wanted.range_keys or self.wanted.no_keys
        plan = planner.named(self.wanted.keys, self.wanted.range_keys) if is_named else planner.expected()
        # Flat indexes take less time. That of a key comes last: from then on searches take values without an index for rare.
        for part, count in sorted(plan.parts.items(), key=lambda one: (not one[0].flat, one[1])):
            what = f"{'flat' if part.flat else 'HNSW'} index over the {count:,} items with {part.label}"
            self._make(part.name, part.statement(self.connection, True), what, valid)
        for key in plan.values:
            name, (found, at) = key_index(self.number, key), place(key)
            if name in valid or self._has_any(found, at, f"the key {key!r}"):
                statement = key_statement(self.connection, self.number, key)
                self._make(name, statement, f"index of the key {key!r}", valid)
        for key in plan.ranges:
            name, (compared, at) = range_index(self.number, key), ordered(key, is_text=False)
            if name in valid or self._has_any(compared, at, f"a number at the key {key!r}"):
                statement = range_statement(self.connection, self.number, key)
                self._make(name, statement, f"index of the numbers at the key {key!r}", valid)
                self.connection.execute(comment(self.connection, self.number, key, plan.bounds.get(key, [])).encode())
        self.connection.execute(f"ANALYZE {table(self.number)}")
        kept = {graph.name, *(part.name for part in plan.parts), *self._kept(there, graph, plan)}
        others = sorted((there.graphs - there.invalid) - kept)
        if others and self.lacks_key:
            self.tell("no index is dropped, since no item has a key that was named; name others and run the command again")
            others = []
        for name in others:
            self._drop(name, ", of other numbers, of a value that is rare now, or of a key that --filter-key does not name")
        self.tell(f"done; indexes made: {self.made}, there already: {self.kept}, dropped: {self.dropped}")

    def _measure(self, graph: Graph) -> None:
        """Note how many candidates a search has to ask for."""
        self.tell("measuring how many candidates of the HNSW index find the nearest items")
        found = measure(self.connection, graph, self.collection.count)
        self.connection.execute(measured_comment(graph, found).encode())
        self.tell(
            f"searches look at {found.candidates} candidates or more, which find {found.recall:.1%} of the {K} nearest items"
        )
        if found.recall < PROMISED:
            self.tell(
                f"warning: searches may miss more than {1 - PROMISED:.0%} of the nearest items: many are about as far from a "
                'query, or have the same vector; where that matters, search with "exact": true'
            )

    def _has_any(self, found: str, parameters: Sequence[object], what: str) -> bool:
        """Return whether an item has something that is not NULL; say it if none has."""
        query = f"SELECT EXISTS (SELECT FROM {table(self.number)} WHERE {found} IS NOT NULL)"  # noqa: S608
        [(has_any,)] = self.connection.execute(query.encode(), parameters)
        if not has_any:
            self.tell(f"no item has {what}, so no index of it is made; check how the key is written")
            self.lacks_key = True
        return bool(has_any)

    def _kept(self, there: Indexes, graph: Graph, plan: KeyPlan) -> set[str]:
        """Return the indexes of other parts that stay: all, or those of intervals if the command names other keys."""
        names = {name for name in there.valid if name.startswith(f"{graph.name}_") and graph.half == (HALF in name)}
        known = {key: there.of_intervals(key) for key in there.intervals}
        if self.wanted.keys:
            names &= set[str]().union(*known.values())
        changed = set[str]().union(*(known[key] for key in plan.ranges if key in known))
        return names - changed - {replace(part, flat=not part.flat).name for part in plan.parts}

    def _make(self, name: str, statement: str, what: str, valid: set[str]) -> None:
        if name in valid:
            self.tell(f"the {what} is there already")
            self.kept += 1
            return
        self.tell(f"making the {what}")
        self.connection.execute(statement.encode())
        self.made += 1
        valid.add(name)

    def _drop(self, name: str, why: str = "") -> None:
        self.tell(f"dropping the {_words(name, self.number)}{why}")
        self.connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        self.dropped += 1


def _words(name: str, number: int) -> str:
    """Return what an index of a collection is, for people."""
    what = name.removeprefix(f"{table(number)}_")
    if name == directionless_index(number):
        return "index of the means of length 0"
    if what.startswith(("key_", "range_")):
        return f"index of a key ({name})"
    method = "flat" if FLAT in what else "HNSW"
    is_of_part = PART.search(what) is not None
    return f"{method} index over " + (f"the items of a value or an interval ({name})" if is_of_part else "all items")
