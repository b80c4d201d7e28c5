"""Make the indexes of a large collection in PostgreSQL while it is used: HNSW indexes, and those of keys for filters.

Each index is made concurrently, so that items can be added and found meanwhile. If this is ended at any moment, what is
finished stays and is used; the next call removes what is not, and goes on. Knows nothing of the command line.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import orjson
import psycopg

from service.store.filters import Condition, usable_key
from service.store.interface import BadItem, Collection, StoreBusy, StoreError, StoreUnavailable, StoreUnusable
from service.store.postgres.filters import canonical, ordered, place
from service.store.postgres.indexes import (
    HALF_MOST,
    MAX_INDEXED,
    Graph,
    indexes,
    key_index,
    key_statement,
    range_index,
    range_statement,
)
from service.store.postgres.schema import LOCK, PgConnection, migrate, table
from service.store.postgres.work import find

# A value of a key gets an HNSW index of its own if it has so many items and such a share of them.
# The share is half of what searches promise (1 %), since a value that about 1 % of the items have may have a little less.
LEAST_ITEMS, LEAST_SHARE = 1000, 0.005
# The most indexes that a collection may have for values: each is a little work for every item that is added.
MOST_PARTS = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What indexes a collection shall have."""

    half: bool | None = None  # 16-bit numbers (halfvec) in HNSW indexes; None leaves it as it is
    keys: Sequence[str] = ()  # keys of filters with single values
    range_keys: Sequence[str] = ()  # keys of filters with ranges of numbers
    memory: str = "1GB"  # maintenance_work_mem
    workers: int = 2  # processes that make an index: one, and max_parallel_maintenance_workers
    no_graphs: bool = False  # drop all HNSW indexes: before a bulk load


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
            number, collection = find(connection, name)
            [(is_free,)] = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK, number))
            if not is_free:
                raise StoreBusy(
                    f"another command makes indexes of the collection {name!r}, or one that was ended still does in the "
                    "database (pg_stat_progress_create_index); try again when it has finished"
                )
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

    def build(self) -> None:
        """Do the work."""
        there = indexes(self.connection, self.number, self.collection)
        for name in sorted(there.invalid):
            self._drop(name, ", whose making was cut off")
        if self.wanted.no_graphs:
            for name in sorted(there.graphs - there.invalid):
                self._drop(name)
            self.tell(
                f"done; HNSW indexes dropped: {self.dropped}. Searches are exact now, and slow in a large collection; run the "
                "command again without --drop after loading"
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
        self._make(graph.name, graph.statement(self.connection, True), "HNSW index over all items", valid)
        for key in self.wanted.keys:
            name, (found, at) = key_index(self.number, key), place(key)
            if name in valid or self._has_any(found, at, f"the key {key!r}"):
                statement = key_statement(self.connection, self.number, key)
                self._make(name, statement, f"index of the key {key!r}", valid)
        for key in self.wanted.range_keys:
            name, (compared, at) = range_index(self.number, key), ordered(key, is_text=False)
            if name in valid or self._has_any(compared, at, f"a number at the key {key!r}"):
                statement = range_statement(self.connection, self.number, key)
                self._make(name, statement, f"index of the numbers at the key {key!r}", valid)
        self.connection.execute(f"ANALYZE {table(self.number)}")
        parts = {part.name: (part, count) for key in self.wanted.keys for part, count in self._parts(graph, key)}
        if len(parts) > MOST_PARTS:
            raise StoreError(f"the keys have {len(parts)} frequent values together, at most {MOST_PARTS} can have indexes")
        for name, (part, count) in parts.items():
            what = f"HNSW index over the {count:,} items with {part.label}"
            self._make(name, part.statement(self.connection, True), what, valid)
        for name in sorted((there.graphs - there.invalid) - {graph.name, *parts} - self._kept(there.valid, graph)):
            self._drop(name, ", which is of other numbers, or of a value that is rare now")
        self.tell(f"done; indexes made: {self.made}, there already: {self.kept}, dropped: {self.dropped}")

    def _has_any(self, found: str, parameters: Sequence[object], what: str) -> bool:
        """Return whether an item has something that is not NULL; say it if none has."""
        query = f"SELECT EXISTS (SELECT FROM {table(self.number)} WHERE {found} IS NOT NULL)"  # noqa: S608
        [(has_any,)] = self.connection.execute(query.encode(), parameters)
        if not has_any:
            self.tell(f"no item has {what}, so no index of it is made; check how the key is written")
        return bool(has_any)

    def _parts(self, graph: Graph, key: str) -> list[tuple[Graph, int]]:
        """Return the indexes for the frequent values of a key, with the number of items of each."""
        found, at = place(key)
        least = max(LEAST_ITEMS, round(LEAST_SHARE * self.collection.count))
        # An element of a list counts as a value: a filter finds it, too.
        rows = self.connection.execute(
            "SELECT value::text, count(*) FROM (SELECT CASE jsonb_typeof(found) WHEN 'array' THEN found "  # noqa: S608
            f"ELSE jsonb_build_array(found) END AS list FROM (SELECT {found} AS found FROM {table(self.number)}) AS one "
            "WHERE found IS NOT NULL) AS lists, jsonb_array_elements(list) AS value "
            "WHERE jsonb_typeof(value) NOT IN ('object', 'array') GROUP BY value HAVING count(*) >= %s ORDER BY 2 DESC",
            (*at, least),
        )
        return [(replace(graph, part=Condition(key, "eq", canonical(orjson.loads(text)))), count) for text, count in rows]

    def _kept(self, valid: frozenset[str], graph: Graph) -> frozenset[str]:
        """Return the indexes of values that a command without keys leaves as they are."""
        if self.wanted.keys:
            return frozenset()
        return frozenset(name for name in valid if name.startswith(f"{graph.name}_") and graph.half == ("_half" in name))

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
        self.tell(f"dropping the index {name}{why}")
        self.connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        self.dropped += 1
