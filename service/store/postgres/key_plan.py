"""Decide which values and intervals of keys get vector indexes of their own, and whether these are flat or of HNSW.

Knows nothing of making indexes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import orjson

from service.store.filters import Condition
from service.store.interface import StoreError
from service.store.postgres import filter_keys
from service.store.postgres.filters import canonical, place
from service.store.postgres.graph import FLAT_MOST, Graph, interval
from service.store.postgres.indexes import Indexes, together
from service.store.postgres.schema import PgConnection, table

# A value of a key gets a vector index of its own if it has so many items and such a share of them.
# The share is half of what searches promise (1 %), since a value that about 1 % of the items have may have a little less.
LEAST_ITEMS, LEAST_SHARE = 1000, 0.005
# The most indexes that a collection may have for values and intervals: each is a little work for every item that is added,
# and a lock for every search.
MOST_PARTS = 350
# In a smaller collection searches with filters are fast enough without indexes for keys, unless somebody names them.
LEAST_EXPECTED = 5000
# The HNSW indexes for keys that nobody named have at most so many times the items of the collection: each takes as much time
# and space for its items as the index over all.
MOST_COPIES = 4


@dataclass(slots=True)
class KeyPlan:
    """Keys, and the vector indexes over parts of the items."""

    values: list[str] = field(default_factory=list)  # keys that are compared with single values
    ranges: list[str] = field(default_factory=list)  # keys whose numbers are compared by order
    bounds: dict[str, list[float]] = field(default_factory=dict)  # of the intervals of keys whose numbers are divided
    parts: dict[Graph, int] = field(default_factory=dict)  # with the number of items of each, about


class Planner:
    """Plans for one collection. It only reads."""

    def __init__(
        self, connection: PgConnection, there: Indexes, graph: Graph, count: int, tell: Callable[[str], None]
    ) -> None:
        """`graph`: the index over all items. `count`: how many these are."""
        self._connection, self._there, self._graph, self._count, self._tell = connection, there, graph, count, tell

    def named(self, keys: Sequence[str], range_keys: Sequence[str]) -> KeyPlan:
        """Return the plan for keys that somebody named. Raises StoreError if they have too many values."""
        plan = KeyPlan(list(keys), list(range_keys))
        for key in keys:
            plan.parts |= self._of_values(key)
        if len(plan.parts) > MOST_PARTS:
            raise StoreError(
                f"the keys have {len(plan.parts)} frequent values together, at most {MOST_PARTS} can have indexes"
            )
        for key in range_keys:
            found = self._bounds(key)
            flat, wide = self._of_intervals(key, found)
            for parts, what in ((flat, "flat indexes over intervals"), (wide, "HNSW indexes over wide intervals")):
                if len(plan.parts) + len(parts) > MOST_PARTS:
                    self._tell(f"the numbers at {key!r} get no {what}: a collection has at most {MOST_PARTS} indexes of parts")
                    break
                if parts:
                    plan.bounds[key] = found
                    plan.parts |= parts
        return plan

    def expected(self) -> KeyPlan:
        """Return the plan for the keys that filters can be expected to use. Those that would cost too much are left out."""
        plan, left_out = KeyPlan(), list[str]()

        def has_room(parts: dict[Graph, int]) -> bool:
            copies = sum(count for part, count in plan.parts.items() if not part.flat)
            more = sum(count for part, count in parts.items() if not part.flat)
            return len(plan.parts) + len(parts) <= MOST_PARTS and copies + more <= MOST_COPIES * self._count

        if self._count < LEAST_EXPECTED:
            return plan
        for key in filter_keys.filter_keys(self._connection, self._graph.number, self._count, LEAST_SHARE):
            values = self._of_values(key.name)
            found = self._bounds(key.name) if key.has_ranges else []
            flat, wide = self._of_intervals(key.name, found)
            if not has_room(values | flat):
                left_out.append(key.name)
            elif values or flat:
                plan.values.append(key.name)
                plan.parts |= values | flat
                if has_room(wide):
                    plan.parts |= wide
                else:
                    self._tell(
                        f"wide ranges of {key.name!r} get no HNSW indexes, which would be too many or too large; to get them, "
                        "name fewer keys by --filter-key and --range-key"
                    )
                if found:
                    plan.ranges.append(key.name)
                    plan.bounds[key.name] = found
        if plan.values:
            self._tell(f"keys that filters may use: {_listed(plan.values)}; ranges of numbers: {_listed(plan.ranges)}")
        if left_out:
            self._tell(
                f"left out, since their indexes would be too many or too large: {_listed(left_out)}; "
                "name the keys that you want by --filter-key and --range-key"
            )
        return plan

    def _of_values(self, key: str) -> dict[Graph, int]:
        """Return the indexes for the frequent values of a key, with the number of items of each."""
        found, at = place(key)
        least = max(LEAST_ITEMS, round(LEAST_SHARE * self._count))
        # An element of a list counts as a value: a filter finds it, too.
        items = table(self._graph.number)
        rows = self._connection.execute(
            "SELECT value::text, count(*) FROM (SELECT CASE jsonb_typeof(found) WHEN 'array' THEN found "  # noqa: S608
            f"ELSE jsonb_build_array(found) END AS list FROM (SELECT {found} AS found FROM {items}) AS one "
            "WHERE found IS NOT NULL) AS lists, jsonb_array_elements(list) AS value "
            "WHERE jsonb_typeof(value) NOT IN ('object', 'array') GROUP BY value HAVING count(*) >= %s ORDER BY 2 DESC",
            (*at, least),
        )
        parts = {}
        for text, count in rows:
            one = (Condition(key, "eq", canonical(orjson.loads(text))),)
            parts[replace(self._graph, part=one, flat=count <= FLAT_MOST)] = count
        return parts

    def _bounds(self, key: str) -> list[float]:
        """Return the bounds of the intervals of a key: those that are used, if they still divide its numbers well."""
        used = [high for _, high in self._there.intervals.get(key, []) if high is not None]
        # In a very large collection flat indexes are larger, since there are no more intervals.
        allowed = max(FLAT_MOST, 2 * self._count // filter_keys.MOST_INTERVALS)
        for found in (used, filter_keys.bounds(self._connection, self._graph.number, key)):
            most = filter_keys.most_within(self._connection, self._graph.number, key, found) if found else 0
            if 0 < most <= allowed:
                return found
        if most:
            self._tell(f"the numbers at {key!r} are not divided for ranges, since {most:,} items have nearly the same")
        return []

    def _of_intervals(self, key: str, found: list[float]) -> tuple[dict[Graph, int], dict[Graph, int]]:
        """Return the flat indexes over intervals between bounds, and the HNSW indexes over several of them."""
        intervals = list(pairwise([None, *found, None])) if found else []
        each = self._count // (len(found) + 1)
        flat = {replace(self._graph, part=interval(key, *one), flat=True): each for one in intervals}
        # One wide interval with all the numbers would have an index over nearly all items.
        groups = [(wide, len(group)) for wide, group in together(intervals) if 1 < len(group) < len(intervals)]
        return flat, {replace(self._graph, part=interval(key, *wide)): each * size for wide, size in groups}


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(map(repr, keys)) or "none"
