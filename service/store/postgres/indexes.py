"""Which indexes of a collection in PostgreSQL are there. Knows nothing of searches.

Names and comments say what an index is of, so that the catalog of PostgreSQL is the only record of them.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from service.store.filters import Condition
from service.store.interface import Collection
from service.store.postgres.graph import (
    FLAT,
    HALF,
    Graph,
    directionless_index,
    directionless_statement,
    indexed,
    interval,
    is_of_numbers,
    key_index,
    range_index,
    range_start,
)
from service.store.postgres.schema import PgConnection, table

# What may follow in a name what all indexes of a metric and weight have in common.
REST = re.compile(f"({HALF})?(({FLAT})?_[0-9a-f]{{12}})?")
# So many neighbouring intervals with flat indexes have an HNSW index together.
TOGETHER = 4
# The least number, and the one that all are below; None stands for no bound.
Interval = tuple[float | None, float | None]


def together(intervals: Sequence[Interval]) -> list[tuple[Interval, Sequence[Interval]]]:
    """Return the wider intervals that have HNSW indexes, with those that each consists of."""
    groups = [intervals[first : first + TOGETHER] for first in range(0, len(intervals), TOGETHER)]
    return [((group[0][0], group[-1][1]), group) for group in groups]


State = tuple[int, int, int, list[str]]


@dataclass(frozen=True, slots=True)
class Measured:
    """How many candidates the index over all items has to be asked for, and what was measured to say so."""

    candidates: int
    recall: float  # of the 10 nearest
    items: int  # that the collection had


@dataclass(frozen=True, slots=True)
class Pieces:
    """The flat indexes of one wider interval that a range touches, and the HNSW index of the whole of it, if there is one."""

    wide: Graph | None
    flat: tuple[Graph, ...]


@dataclass(frozen=True, slots=True)
class Indexes:
    """The indexes of a collection that are there."""

    graph: Graph  # over all items; as it would be, if it is not there
    valid: frozenset[str]  # the names of those that can be used
    invalid: frozenset[str]  # the names of those whose making was cut off
    graphs: frozenset[str]  # the names of all vector indexes
    sizes: dict[str, float]  # about how many items are in each that can be used
    intervals: dict[str, list[Interval]]  # by key, in their order: those that have flat indexes
    measured: Measured | None
    commented: list[int]  # the object ids of the indexes that may have comments
    state: State | None  # see `_state`

    @property
    def has_graph(self) -> bool:
        """Whether there is an HNSW index over all items for the collection's metric and weight."""
        return self.graph.name in self.valid

    def has_key(self, key: str) -> bool:
        """Whether there is a GIN index of a key."""
        return key_index(self.graph.number, key) in self.valid

    def has_range(self, condition: Condition) -> bool:
        """Whether there is a B-tree index for a condition."""
        return is_of_numbers(condition) and range_index(self.graph.number, condition.key) in self.valid

    def part(self, condition: Condition) -> Graph | None:
        """Return the vector index over the items that meet a condition, if there is one."""
        graph = replace(self.graph, part=(condition,))
        return next((one for one in (replace(graph, flat=True), graph) if one.name in self.valid), None)

    def within(self, ordered: Sequence[Condition]) -> list[Pieces] | None:
        """Return the indexes that have all items which meet conditions on the number at one key; None if a flat one lacks."""

        def may_have(low: float | None, high: float | None) -> bool:
            return all(
                (high is None or one.value < high)
                if one.operator in ("gt", "gte")
                else (low is None or one.value > low or (one.operator == "lte" and one.value == low))
                for one in ordered
            )

        key, found = ordered[0].key, list[Pieces]()
        for wide, members in together(self.intervals.get(key, [])):
            flat = [replace(self.graph, part=interval(key, *one), flat=True) for one in members if may_have(*one)]
            if not all(graph.name in self.valid for graph in flat):
                return None
            graph = replace(self.graph, part=interval(key, *wide))
            found += [Pieces(graph if graph.name in self.valid else None, tuple(flat))] if flat else []
        return found or None

    def of_intervals(self, key: str) -> set[str]:
        """Return the names of the indexes over the intervals of a key, as they are or would be."""
        found = self.intervals.get(key, [])
        flat = [replace(self.graph, part=interval(key, *one), flat=True).name for one in found]
        return {*flat, *(replace(self.graph, part=interval(key, *wide)).name for wide, _ in together(found))}

    def size(self, graph: Graph) -> float:
        """Return about how many items an index has that is there."""
        return self.sizes[graph.name]


# What each connection has found, by collection, metric and weight.
_KNOWN: WeakKeyDictionary[PgConnection, dict[tuple[int, str, float], Indexes]] = WeakKeyDictionary()


def indexes(connection: PgConnection, number: int, collection: Collection) -> Indexes:
    """Return the indexes of a collection. To look at hundreds takes a millisecond, so that is done only when they change."""
    known, key = _KNOWN.setdefault(connection, {}), (number, collection.metric, collection.sigma_weight)
    there = known.get(key)
    if there is None or there.state != _state(connection, number, there.commented):
        there = known[key] = _indexes(connection, number, collection)
    return there


def _state(connection: PgConnection, number: int, commented: list[int]) -> State | None:
    """Return what changes whenever an index is made, becomes valid or is dropped, or gets another comment."""
    return connection.execute(
        "SELECT count(*), max(indexrelid)::bigint, count(*) FILTER (WHERE indisvalid), "
        "ARRAY(SELECT xmin::text FROM pg_description WHERE objoid = ANY(%s) AND classoid = 'pg_class'::regclass "
        "ORDER BY objoid) "
        "FROM pg_index WHERE indrelid = %s::regclass",
        (commented, table(number)),
    ).fetchone()


def _indexes(connection: PgConnection, number: int, collection: Collection) -> Indexes:
    graph = Graph(number, indexed(collection.metric), collection.dim, collection.sigma_weight)
    half = replace(graph, half=True)
    rows = connection.execute(
        # Only those of ranges and those over all items have comments, and to look for one takes long.
        "SELECT relname, indisvalid, amname IN ('hnsw', 'ivfflat'), reltuples, "
        "CASE WHEN has_comment THEN obj_description(c.oid, 'pg_class') END, CASE WHEN has_comment THEN c.oid::bigint END "
        "FROM (SELECT *, starts_with(relname, %s) OR relname = ANY(%s) AS has_comment FROM pg_class) AS c "
        "JOIN pg_index ON c.oid = indexrelid JOIN pg_am ON pg_am.oid = relam "
        "WHERE indrelid = %s::regclass",
        (range_start(number), [graph.name, half.name], table(number)),
    ).fetchall()
    commented = [row[5] for row in rows if row[5] is not None]
    comments = {row[0]: _noted(row[4]) for row in rows if row[4]}
    valid = frozenset(row[0] for row in rows if row[1])
    # After a change of the metric the new index has the numbers that the old one had.
    was_half = graph.name not in valid and any(HALF in row[0] for row in rows)
    chosen = half if half.name in valid or was_half else graph
    measured = comments.get(chosen.name, {})
    return Indexes(
        chosen,
        valid,
        frozenset(row[0] for row in rows if not row[1]),
        frozenset(row[0] for row in rows if row[2]),
        {row[0]: row[3] for row in rows if row[1]},
        _intervals([one for one in comments.values() if "bounds" in one]),
        Measured(**measured) if measured.keys() == Measured.__annotations__.keys() else None,
        commented,
        _state(connection, number, commented),
    )


def _noted(comment: str) -> dict[str, Any]:
    """Return what `index` has written on an index; nothing of a comment that somebody else has written."""
    with suppress(ValueError):
        found = json.loads(comment)
        if isinstance(found, dict):
            return found
    return {}


def _intervals(noted: Sequence[dict[str, Any]]) -> dict[str, list[Interval]]:
    """Return the intervals of the keys, which the comments on their B-tree indexes have."""
    return {
        one["key"]: list(zip([None, *one["bounds"]], [*one["bounds"], None], strict=True)) for one in noted if one["bounds"]
    }


def measured_comment(graph: Graph, measured: Measured) -> str:
    """Return the statement that writes on an index what was measured."""
    return f"COMMENT ON INDEX {graph.name} IS '{json.dumps(asdict(measured))}'"


def make_index(connection: PgConnection, number: int, collection: Collection) -> None:
    """Make the index over all items for the collection's metric and weight, and drop all vector indexes of another one."""
    there = indexes(connection, number, collection)
    for name in _others(there):
        connection.execute(f"DROP INDEX {name}")
    if there.graph.is_possible:
        connection.execute(there.graph.statement(connection))
    if there.graph.metric == "cosine":
        connection.execute(directionless_statement(number))
    else:
        connection.execute(f"DROP INDEX IF EXISTS {directionless_index(number)}")


def _others(there: Indexes) -> Iterator[str]:
    own = replace(there.graph, half=False).name
    for name in sorted(there.graphs):
        is_own = name.startswith(own) and REST.fullmatch(name.removeprefix(own))
        if not is_own or name in there.invalid:
            yield name
