"""The HNSW indexes of a collection in PostgreSQL: their names, what they are of, and which of them are there.

A collection has one over all its items. Its keys that filters use often may have more: a GIN index of the key, and an HNSW
index over the items of each frequent value; or a B-tree index of its numbers, for ranges. Names say what an index is of, so
that the catalog of PostgreSQL is the only record of them. Knows nothing of searches.
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from service.store.filters import ORDERED, Condition
from service.store.interface import Collection
from service.store.postgres.filters import canonical, ordered, pgvector_where, place
from service.store.postgres.schema import PgConnection, table

CLASSES = {"l2": "l2_ops", "cosine": "cosine_ops", "w2": "l2_ops"}
# So many characters of a value are in a message.
SHOWN = 80
# The most dimensions that an HNSW index supports, by the type of its numbers.
MAX_INDEXED = {"vector": 2000, "halfvec": 4000}
# The largest number of a halfvec.
HALF_MOST = 65504.0
# A graph over the items of one value is asked for what is near a place outside it, which takes a better graph.
PART_CONSTRUCTION = 200
HALF = "_half"


def indexed(metric: str) -> str:
    """Return the metric of the HNSW index for a collection's metric: the same, or w2, which finds candidates."""
    return metric if metric in CLASSES else "w2"


@dataclass(frozen=True, slots=True)
class Graph:
    """An HNSW index of a metric (l2, cosine or w2), over all items or over those that meet one condition."""

    number: int  # of the collection
    metric: str
    dim: int
    sigma_weight: float = 1.0
    half: bool = False  # of 16-bit numbers, which take half the space
    part: Condition | None = None

    @property
    def name(self) -> str:
        """The name of the index, which has all digits of the weight, since an index that is there already stays."""
        weight = f"_{struct.pack('>d', self.sigma_weight).hex()}" if self.sigma_weight != 1 else ""
        part = "" if self.part is None else f"_{_hash(self.part.key, canonical(self.part.value))}"
        return f"{table(self.number)}_{self.metric}{weight}{HALF * self.half}{part}"

    @property
    def label(self) -> str:
        """What its items have in common, for people."""
        if self.part is None:
            return "anything"
        value = json.dumps(self.part.value, ensure_ascii=False)
        return f"{self.part.key} = {value if len(value) <= SHOWN else value[:SHOWN] + '...'}"

    @property
    def type(self) -> str:
        """The type of its vectors."""
        return "halfvec" if self.half else "vector"

    @property
    def width(self) -> int:
        """The number of its dimensions."""
        return 2 * self.dim if self.metric == "w2" else self.dim

    @property
    def is_possible(self) -> bool:
        """Whether pgvector can index so many dimensions."""
        return self.width <= MAX_INDEXED[self.type]

    @property
    def compared(self) -> str:
        """What the index is of, and what a search must order by to use it: mu, or [mu, w sigma].

        The vectors of a part are written in another way than those of all items: the planner, which underestimates how far
        the index over all items has to look for those of a filter, could choose that one otherwise.
        """
        column, width = "both_" if self.metric == "w2" else "mu", int(self.width)
        if self.metric == "w2" and self.sigma_weight != 1:
            weights = [1.0] * self.dim + [float(self.sigma_weight)] * self.dim
            column = f"((both_ * '{weights}'::vector)::vector({width}))"
        if self.part is not None:
            return f"(subvector({column}, 1, {width})::{self.type}({width}))"
        return f"({column}::halfvec({width}))" if self.half else column

    def statement(self, connection: PgConnection, concurrently: bool = False) -> str:
        """Return the statement that makes the index unless it is there. `concurrently`: items may change meanwhile."""
        what = f"{self.compared} {self.type}_{CLASSES[self.metric]}"
        how = f" WITH (ef_construction = {PART_CONSTRUCTION})" if self.part else ""
        where = f" WHERE {predicate(connection, self.part)}" if self.part else ""
        word = "CONCURRENTLY " if concurrently else ""
        return f"CREATE INDEX {word}IF NOT EXISTS {self.name} ON {table(self.number)} USING hnsw ({what}){how}{where}"


def key_index(number: int, key: str) -> str:
    """Return the name of the GIN index of a key of the metadata."""
    return f"{table(number)}_key_{_hash(key)}"


def key_statement(connection: PgConnection, number: int, key: str) -> str:
    """Return the statement that makes the GIN index of a key unless it is there, while items may change."""
    found, parameters = place(key)
    what = psycopg.ClientCursor(connection).mogrify(found, parameters)
    name = key_index(number, key)
    return f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table(number)} USING gin (({what}) jsonb_path_ops)"


def range_index(number: int, key: str) -> str:
    """Return the name of the B-tree index of the numbers at a key of the metadata."""
    return f"{table(number)}_range_{_hash(key)}"


def range_statement(connection: PgConnection, number: int, key: str) -> str:
    """Return the statement that makes the B-tree index of a key unless it is there, while items may change.

    It has no texts: a B-tree refuses long ones.
    """
    compared, parameters = ordered(key, is_text=False)
    what = psycopg.ClientCursor(connection).mogrify(compared, parameters)
    return f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {range_index(number, key)} ON {table(number)} (({what}))"


def predicate(connection: PgConnection, part: Condition) -> str:
    """Return the condition as a search writes it, with its values in it."""
    sql, parameters = pgvector_where((part,))
    return psycopg.ClientCursor(connection).mogrify(sql.removeprefix(" AND "), parameters)


def _hash(*values: Any) -> str:
    return hashlib.blake2b(repr(values).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class Indexes:
    """The indexes of a collection that are there."""

    graph: Graph  # over all items; as it would be, if it is not there
    valid: frozenset[str]  # the names of those that can be used
    invalid: frozenset[str]  # the names of those whose making was cut off
    graphs: frozenset[str]  # the names of all HNSW indexes

    @property
    def has_graph(self) -> bool:
        """Whether there is an HNSW index over all items for the collection's metric and weight."""
        return self.graph.name in self.valid

    def has_key(self, key: str) -> bool:
        """Whether there is a GIN index of a key."""
        return key_index(self.graph.number, key) in self.valid

    def has_range(self, condition: Condition) -> bool:
        """Whether there is a B-tree index for a condition."""
        is_range = condition.operator in ORDERED and not isinstance(condition.value, str)
        return is_range and range_index(self.graph.number, condition.key) in self.valid

    def part(self, condition: Condition) -> Graph | None:
        """Return the HNSW index over the items that meet a condition, if there is one."""
        graph = replace(self.graph, part=condition)
        return graph if graph.name in self.valid else None


def indexes(connection: PgConnection, number: int, collection: Collection) -> Indexes:
    """Return the indexes of a collection."""
    rows = connection.execute(
        "SELECT relname, indisvalid, amname = 'hnsw' FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
        "JOIN pg_am ON pg_am.oid = relam WHERE indrelid = %s::regclass",
        (table(number),),
    ).fetchall()
    valid = frozenset(name for name, is_valid, _ in rows if is_valid)
    graph = Graph(number, indexed(collection.metric), collection.dim, collection.sigma_weight)
    half = replace(graph, half=True)
    # After a change of the metric the new index has the numbers that the old one had.
    was_half = graph.name not in valid and any(HALF in name for name, _, _ in rows)
    return Indexes(
        half if half.name in valid or was_half else graph,
        valid,
        frozenset(name for name, is_valid, _ in rows if not is_valid),
        frozenset(name for name, _, is_graph in rows if is_graph),
    )


def make_index(connection: PgConnection, number: int, collection: Collection) -> None:
    """Make the index over all items for the collection's metric and weight, and drop all HNSW indexes of another one."""
    there = indexes(connection, number, collection)
    for name in _others(there):
        connection.execute(f"DROP INDEX {name}")
    if there.graph.is_possible:
        connection.execute(there.graph.statement(connection))


def _others(there: Indexes) -> Iterator[str]:
    own = replace(there.graph, half=False).name
    for name in sorted(there.graphs):
        rest = name.removeprefix(own).removeprefix(HALF)
        is_own = name.startswith(own) and (not rest or len(rest) == 1 + 2 * 6)
        if not is_own or name in there.invalid:
            yield name
