"""Which vector indexes a search asks, by what its filter compares and by what each way would cost. It runs no searches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.store.filters import Condition
from service.store.postgres.graph import Graph, is_of_numbers
from service.store.postgres.indexes import Indexes, Pieces

# If the index of a key finds at most so many items, by the planner's estimate, all of them are measured: 10,000 take 13 to 19
# ms. The first number is for doing so at once, the second one for doing so where the first candidates are too few.
MEASURED_AT_ONCE, MEASURED = 5_000, 30_000
# An `in` with more values than this is not searched value by value.
FEW_VALUES = 4
# What ways of searching cost, in vectors of a flat index that are read in the same time: an HNSW index of a value, that of a
# wide interval, the one over all items, and measuring the items of a rare value.
GRAPH_COST, WIDE_COST, WHOLE_COST, RARE_COST = 35_000, 28_000, 65_000, 5_000


@dataclass(frozen=True, slots=True)
class Way:
    """A vector index to ask. Without one, all items are measured that an index of a key finds."""

    graph: Graph | None
    added: tuple[Condition, ...] = ()  # to the filter: they say which items the index has
    instead: tuple[Graph, ...] = ()  # the flat indexes that have what the one of a wide interval may miss
    is_narrow: bool = False  # few items pass, by an estimate

    @property
    def is_complete(self) -> bool:
        """Whether it finds all that pass, also if only its first candidates are looked at."""
        return self.graph is None or self.graph.flat or bool(self.instead)


Ways = tuple[Way, ...]


def choose(there: Indexes, conditions: Sequence[Condition], estimate: Callable[[], float]) -> tuple[Ways, Ways]:
    """Return the ways to try first, if any, and those that are asked for all that pass where one of these finds too few.

    Every condition with indexes is a choice, and so is the index over all items. `estimate` returns about how many items pass
    the filter if an index of a key finds them, else infinity.
    """
    by_value = [found for one in conditions if (found := _of_values(there, one)) is not None]
    by_range: list[tuple[float, Ways]] = []
    for key in {one.key: None for one in conditions if is_of_numbers(one)}:
        pieces = there.within([one for one in conditions if one.key == key and is_of_numbers(one)])
        if pieces is not None:
            by_range.append(_of_range(there, pieces))
    choices = sorted(by_value + by_range, key=lambda choice: choice[0])
    cost, best = choices[0] if choices else (math.inf, ())
    if best and (by_value or cost <= WHOLE_COST):
        others = [ways for cost, ways in choices[1:] if cost <= 2 * WHOLE_COST]
        if not others or all(way.is_complete for way in best):
            return (), best
        return best, others[0]
    if best:
        return (Way(there.graph),), best
    passing = estimate()
    return (), (Way(None if passing <= MEASURED_AT_ONCE else there.graph, is_narrow=passing <= MEASURED),)


def _of_values(there: Indexes, condition: Condition) -> tuple[float, Ways] | None:
    """Return the cost of looking at the values of a condition, and the ways; None if no index is of use."""
    if condition.operator not in ("eq", "in"):
        return None
    values = condition.value if condition.operator == "in" else (condition.value,)
    if not there.has_key(condition.key) or not 1 <= len(values) <= FEW_VALUES:
        return None
    ones = [Condition(condition.key, "eq", value) for value in values]
    parts = [there.part(one) for one in ones]
    return sum(_cost(there, part) for part in parts), tuple(Way(part, (one,)) for part, one in zip(parts, ones, strict=True))


def _cost(there: Indexes, part: Graph | None) -> float:
    """Return about how many vectors of a flat index are read in the time of a part; None stands for a rare value."""
    if part is None:
        return RARE_COST
    return there.size(part) if part.flat else GRAPH_COST


def _of_range(there: Indexes, pieces: Sequence[Pieces]) -> tuple[float, Ways]:
    """Return the cost of looking at a range, and the ways: by wide indexes instead of several flat ones."""
    ways, cost = list[Way](), 0.0
    for piece in pieces:
        if piece.wide is not None and len(piece.flat) > 1:
            ways.append(Way(piece.wide, piece.wide.part, piece.flat))
            cost += WIDE_COST
        else:
            ways += [Way(graph, graph.part) for graph in piece.flat]
            cost += sum(map(there.size, piece.flat))
    return cost, tuple(ways)
