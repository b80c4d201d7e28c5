"""The indexes that a collection in PostgreSQL may have: their names, what they are of, and the statements that make them.

A collection has an HNSW index over all its items. Keys of filters may have more: a GIN index of the key, and a vector index
over the items of each frequent value; or a B-tree index of its numbers and vector indexes over intervals of them, for ranges.
An index over many items is of HNSW. One over fewer is a flat list of their vectors (IVFFlat with one list), which a search
reads as a whole: it finds all of them, in their order. Knows neither which of them are there nor how searches use them.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any

import psycopg

from service.store.filters import ORDERED, Condition, Operator
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
HALF, FLAT = "_half", "_flat"
# What is true of a mean of length 0. No index of cosines has it, so that these have an index of their own.
WITHOUT_DIRECTION = "vector_norm(mu) = 0"
# So many items have a flat index: 10,000 are read in 2 ms.
FLAT_MOST = 30_000


def indexed(metric: str) -> str:
    """Return the metric of the HNSW index for a collection's metric: the same, or w2, which finds candidates."""
    return metric if metric in CLASSES else "w2"


@dataclass(frozen=True, slots=True)
class Graph:
    """A vector index of a metric (l2, cosine or w2), over all items or over those that meet the conditions of a part."""

    number: int  # of the collection
    metric: str
    dim: int
    sigma_weight: float = 1.0
    half: bool = False  # of 16-bit numbers, which take half the space
    part: tuple[Condition, ...] = ()  # the key has a value, or a number in an interval
    flat: bool = False  # a list of the vectors instead of HNSW

    @property
    def name(self) -> str:
        """The name of the index, which has all digits of the weight, since an index that is there already stays."""
        weight = f"_{struct.pack('>d', self.sigma_weight).hex()}" if self.sigma_weight != 1 else ""
        values = [_hash_of_part(self.part)] if self.part else []
        return "_".join([f"{table(self.number)}_{self.metric}{weight}{HALF * self.half}{FLAT * self.flat}", *values])

    @property
    def label(self) -> str:
        """What its items have in common, for people."""
        return " and ".join(map(_label, self.part)) or "anything"

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
        the index over all items has to look for those of a filter, could choose that one otherwise. Those of flat indexes
        are written in a third way, since one of them finds all that another way of searching may miss.
        """
        column, width = "both_" if self.metric == "w2" else "mu", int(self.width)
        if self.metric == "w2" and self.sigma_weight != 1:
            weights = [1.0] * self.dim + [float(self.sigma_weight)] * self.dim
            column = f"((both_ * '{weights}'::vector)::vector({width}))"
        if self.part:  # a count above the number of dimensions means all of them
            return f"(subvector({column}, 1, {width + self.flat})::{self.type}({width}))"
        return f"({column}::halfvec({width}))" if self.half else column

    def statement(self, connection: PgConnection, concurrently: bool = False) -> str:
        """Return the statement that makes the index unless it is there. `concurrently`: items may change meanwhile."""
        what = f"{self.compared} {self.type}_{CLASSES[self.metric]}"
        method, how = ("ivfflat", " WITH (lists = 1)") if self.flat else ("hnsw", "")
        if self.part and not self.flat:
            how = f" WITH (ef_construction = {PART_CONSTRUCTION})"
        where = f" WHERE {predicate(connection, self.part)}" if self.part else ""
        word = "CONCURRENTLY " if concurrently else ""
        start = f"CREATE INDEX {word}IF NOT EXISTS {self.name} ON {table(self.number)}"
        return f"{start} USING {method} ({what}){how}{where}"


def directionless_index(number: int) -> str:
    """Return the name of the B-tree index of items with means of length 0."""
    return f"{table(number)}_without_direction"


def directionless_statement(number: int, concurrently: bool = False) -> str:
    """Return the statement that makes the index of items with means of length 0 unless it is there."""
    word, name = "CONCURRENTLY " if concurrently else "", directionless_index(number)
    return f"CREATE INDEX {word}IF NOT EXISTS {name} ON {table(number)} (id) WHERE {WITHOUT_DIRECTION}"


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
    return f"{range_start(number)}{_hash(key)}"


def range_start(number: int) -> str:
    """Return what the names of all B-tree indexes of numbers begin with."""
    return f"{table(number)}_range_"


def range_statement(connection: PgConnection, number: int, key: str) -> str:
    """Return the statement that makes the B-tree index of a key unless it is there, while items may change.

    It has no texts: a B-tree refuses long ones.
    """
    compared, parameters = ordered(key, is_text=False)
    what = psycopg.ClientCursor(connection).mogrify(compared, parameters)
    return f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {range_index(number, key)} ON {table(number)} (({what}))"


def comment(connection: PgConnection, number: int, key: str, bounds: list[float]) -> str:
    """Return the statement that writes the bounds of a key's intervals on its B-tree index."""
    text = json.dumps({"key": key, "bounds": bounds})  # whole numbers may have more than 64 bits
    return psycopg.ClientCursor(connection).mogrify(f"COMMENT ON INDEX {range_index(number, key)} IS %s", (text,))


def predicate(connection: PgConnection, part: tuple[Condition, ...]) -> str:
    """Return the conditions as a search writes them, with their values in them."""
    sql, parameters = pgvector_where(part)
    return psycopg.ClientCursor(connection).mogrify(sql.removeprefix(" AND "), parameters)


def is_of_numbers(condition: Condition) -> bool:
    """Return whether a condition compares the order of numbers."""
    return condition.operator in ORDERED and not isinstance(condition.value, str)


def interval(key: str, low: float | None, high: float | None) -> tuple[Condition, ...]:
    """Return the conditions for a number at a key of at least `low` and below `high`, if these are not None."""
    bounds: tuple[tuple[Operator, float | None], ...] = (("gte", low), ("lt", high))
    return tuple(Condition(key, operator, bound) for operator, bound in bounds if bound is not None)


def _label(condition: Condition) -> str:
    value = json.dumps(condition.value, ensure_ascii=False)
    sign = ORDERED.get(condition.operator, "=")
    return f"{condition.key} {sign} {value if len(value) <= SHOWN else value[:SHOWN] + '...'}"


def _hash_of_part(part: tuple[Condition, ...]) -> str:
    if part[0].operator == "eq":
        return _hash(part[0].key, canonical(part[0].value))
    return _hash(part[0].key, *((one.operator, one.value) for one in part))


def _hash(*values: Any) -> str:
    return hashlib.blake2b(repr(values).encode(), digest_size=6).hexdigest()
