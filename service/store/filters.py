"""The language of filters: {"label": 7, "year": {"gte": 2020}, "geo.city": {"in": ["a", "b"]}}. All conditions must hold.

A key is a top-level key of the metadata or, for items without that very key, a path into objects: `geo.city`. A bare value
means `eq`. `eq` and `in` also match a list that has the value as an element; `contains` matches a list by an element and a
text by a part of it. `ne` is the negation of `eq`. Numbers compare with numbers and texts with texts, by code points; other
values have no order. An integer beyond 64 bits is rounded to a float. An item without the key matches only `ne` and
`"exists": false`. Filters are parsed and checked here. Knows nothing of the functions and types of a database.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal, get_args

from service.json_types import json_type
from service.suggestion import similar, suggestion

Scalar = str | int | float | bool | None
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "contains", "exists"]

OPERATORS: tuple[str, ...] = get_args(Operator)
# Operators that need an order, and how SQL writes them.
ORDERED = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
MAX_KEYS, MAX_VALUES, MAX_KEY = 32, 250, 200
# Bound on all texts of a filter together: databases cache recent statements with their parameters.
MAX_CHARACTERS = 1 << 18
# Number of known keys that are compared with an unknown one to suggest a similar one.
MAX_LIKELY = 1000
# What to do instead of joining conditions by a word.
INSTEAD = {
    "and": 'all conditions of a filter must hold anyway, such as {"label": 7, "year": {"gte": 2020}}',
    "or": 'for several values of one key use {"label": {"in": [7, 8]}}, else send several requests',
}
# Characters that JSON can write in several ways.
NO_KEY = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff"\\]')


class BadFilter(Exception):
    """The filter is not valid."""


class UnknownKey(BadFilter):
    """A filter has a key that no item of the collection has, and is refused for it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a filter. `value` is a tuple for `in`, a bool for `exists`, else a scalar."""

    key: str
    operator: Operator
    value: Any

    @property
    def path(self) -> tuple[str, ...]:
        """Return the keys of a path into objects, (a, b) for "a.b", for items without a key "a.b"; empty if it is no path."""
        keys = tuple(self.key.split("."))
        return keys if len(keys) > 1 and all(keys) else ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """A key of a filter that no item of the collection has: it is probably a typing mistake."""

    key: str
    similar: str | None = None  # a key that some item has
    others: tuple[str, ...] = ()  # some of the keys that there are, if none is similar

    def refusal(self) -> UnknownKey:
        """Return the error of a filter that is refused because of this key."""
        return UnknownKey(f"no item of the collection has {self.key!r} in its metadata; {self._hint}")

    def refused_deletion(self) -> UnknownKey:
        """Return the error of a deletion that would delete every item because of this key."""
        return UnknownKey(
            f"no item has the key {self.key!r}, so this condition would match every item; nothing was deleted; {self._hint}"
        )

    @property
    def _hint(self) -> str:
        if self.similar:
            return f"did you mean {self.similar!r}?"
        return f"known keys: {', '.join(self.others)}" if self.others else "no item has any metadata"


def parse_filter(value: object, name: str = "filter") -> tuple[Condition, ...]:
    """Return the conditions of a filter, given as a JSON value under that name. Raises BadFilter."""
    if not isinstance(value, Mapping):
        kind = "" if name == "filter" else "a filter, "
        raise BadFilter(f'{name} must be {kind}a JSON object such as {{"label": 7}}, not {json_type(value)}')
    if len(value) > MAX_KEYS:
        raise BadFilter(f"the filter has {len(value)} keys, at most {MAX_KEYS} are allowed")
    for word in ("and", "or"):
        if isinstance(value.get(word), list):
            raise BadFilter(f"there is no {word!r}: {INSTEAD[word]}")
    conditions = tuple(
        condition
        for key, test in value.items()
        for condition in _conditions(_key(key), test if isinstance(test, Mapping) else {"eq": test})
    )
    characters = sum(map(_characters, conditions))
    if characters > MAX_CHARACTERS:
        raise BadFilter(f"the texts of the filter have {characters} characters together, at most {MAX_CHARACTERS} are allowed")
    return conditions


def _characters(condition: Condition) -> int:
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    return sum(len(value) for value in values if isinstance(value, str))


def names_of(conditions: tuple[Condition, ...]) -> list[str]:
    """Return the keys of a filter, and the first keys of its paths: those to look up among the keys of a collection."""
    return list(dict.fromkeys(name for one in conditions for name in (one.key, *one.path[:1])))


def find_unknown(
    conditions: tuple[Condition, ...],
    known: AbstractSet[str],
    has: Callable[[Condition], bool],
    likely: Callable[[str, int], Sequence[str]],
) -> tuple[Unknown, ...]:
    """Return the keys of a filter that no item of the collection has, in the order of the filter.

    `known`: those of `names_of` that some item has or had at the top level of its metadata. `has(condition)`: whether an item
    meets the condition that its path exists; it is asked only if the first key of the path is known or has a similar one.
    `likely(key, most)`: at most that many keys of the collection, those of similar length first.
    """
    unknown: dict[str, Unknown] = {}
    for one in conditions:
        if one.key in known or one.key in unknown:
            continue
        if not one.path or one.path[0] not in known or not has(Condition(one.key, "exists", True)):
            unknown[one.key] = _described(one, known, has, likely)
    return tuple(unknown.values())


def check_deletion(conditions: tuple[Condition, ...], unknown: Sequence[Unknown]) -> None:
    """Raise UnknownKey if a condition on an unknown key holds for items without the key: a typing mistake deletes them all."""
    for one in unknown:
        for condition in conditions:
            if condition.key == one.key and (
                condition.operator == "ne" or (condition.operator, condition.value) == ("exists", False)
            ):
                raise one.refused_deletion()


def _described(
    condition: Condition,
    known: AbstractSet[str],
    has: Callable[[Condition], bool],
    likely: Callable[[str, int], Sequence[str]],
) -> Unknown:
    key, others = condition.key, likely(condition.key, MAX_LIKELY)
    # An object such as "geo" instead of "geo.cty" is no use: its parts are compared, not the object.
    alike = [other for other in others if "." in other] if condition.path else others
    if near := similar(key, alike):
        return Unknown(key, near)
    if condition.path and condition.path[0] not in known:  # The mistake may be in the first key of the path.
        first, _, rest = key.partition(".")
        if near := similar(first, likely(first, MAX_LIKELY)):
            path = f"{near}.{rest}"
            if has(Condition(path, "exists", True)):
                return Unknown(key, path)
    return Unknown(key, None, tuple(sorted(others)[:20]))


def where(conditions: tuple[Condition, ...], test: Callable[[Condition], tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    """Return (" AND ... AND ...", parameters) in SQL. `test` translates one condition, without the negation of `ne`.

    Where a test is NULL, as for an item without the key, it counts as false: SQL does so itself, but for a negation.
    """
    parts, parameters = [""], list[Any]()
    for condition in conditions:
        sql, values = test(condition)
        parts.append(f"NOT coalesce({sql}, false)" if condition.operator == "ne" else f"({sql})")
        parameters += values
    return " AND ".join(parts), parameters


def usable_key(key: str) -> bool:
    """Return whether a key of the metadata can be used in a filter."""
    return 0 < len(key) <= MAX_KEY and not NO_KEY.search(key)


def _key(key: object) -> str:
    if not isinstance(key, str) or not usable_key(key):
        raise BadFilter(
            f"{str(key)[:80]!r} is not a valid key of a filter: a key has 1 to {MAX_KEY} characters, "
            "and no control characters, quotes or backslashes"
        )
    return key


def _conditions(key: str, tests: Mapping[str, Any]) -> list[Condition]:
    if not tests:
        raise BadFilter(f"{key}: the object has no operator; use one of {', '.join(OPERATORS)}")
    return [Condition(key, _operator(key, name), _value(key, name, value)) for name, value in tests.items()]


def _operator(key: str, name: str) -> Any:
    if name not in OPERATORS:
        name = name[:80]
        nested = json.dumps(f"{key}.{name}", ensure_ascii=False)
        known = f"known are {', '.join(OPERATORS)}. To filter on a nested key, write {nested}"
        raise BadFilter(f"{key}: unknown operator {name!r}; {suggestion(name, OPERATORS, known)}")
    return name


def _value(key: str, name: str, value: object) -> Any:
    if name == "in":
        if not isinstance(value, list) or len(value) > MAX_VALUES:
            found = f"a list of {len(value)}" if isinstance(value, list) else json_type(value)
            raise BadFilter(f"{key}: 'in' needs a list of at most {MAX_VALUES} values, not {found}")
        return tuple(_scalar(key, one) for one in value)
    if name == "exists":
        if not isinstance(value, bool):
            raise BadFilter(f"{key}: 'exists' needs true or false")
        return value
    scalar = _scalar(key, value)
    if name in ORDERED and (isinstance(scalar, bool) or scalar is None):
        raise BadFilter(f"{key}: '{name}' needs a number or a text")
    return scalar


def _scalar(key: str, value: object) -> Scalar:
    if isinstance(value, str):
        if "\0" in value:
            raise BadFilter(f"{key}: a text must not contain the character U+0000")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -(1 << 63) <= value < 1 << 63 else float(value)
    if value is None or isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    advice = ""
    if isinstance(value, list):
        first = value[0] if value and isinstance(value[0], str | int | float) else "x"
        element = json.dumps(first[:40] if isinstance(first, str) else first, ensure_ascii=False)
        advice = f'. Write {element} to match one element, or {{"in": [...]}} for several'
    raise BadFilter(f"{key}: a value must be a text, a number, true, false or null, not {json_type(value)}{advice}")
