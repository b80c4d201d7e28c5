"""Filters as SQL of PostgreSQL; keys and values are parameters. Knows nothing of tables but the column `fields`."""

import json
from typing import Any

import orjson

from service.store.filters import ORDERED, Condition, where

# From here on the shortest decimal form of a float may be a number other than the float.
EXACT = 2.0**53
LONG = range(-(1 << 63), 1 << 63)


def fields_of(metadata: bytes) -> str:
    """Return metadata for comparison: large floats with all their digits, not in the shortest form that JSON has."""
    values: dict[str, Any] = orjson.loads(metadata)
    large = {key: _number(value) for key, value in values.items() if _number(value) is not value}
    return json.dumps(values | large, ensure_ascii=False) if large else metadata.decode()


def _number(value: Any) -> Any:
    """Return a large float as the equal integer, and an integer beyond 64 bits as the value of the nearest float."""
    if isinstance(value, float) and abs(value) >= EXACT:
        return int(value)
    if isinstance(value, int) and value not in LONG:
        return int(float(value))
    return value


def pgvector_where(conditions: tuple[Condition, ...]) -> tuple[str, list[Any]]:
    """Return (" AND ... AND ...", parameters)."""
    return where(conditions, _test)


def _test(condition: Condition) -> tuple[str, list[Any]]:
    key, value = condition.key, condition.value
    match condition.operator:
        case "exists":
            return f"(fields -> %s IS {'NOT ' if value else ''}NULL)", [key]
        case "eq" | "ne":
            return "(fields -> %s = %s::jsonb)", [key, _json(value)]
        case "in":
            return "(fields -> %s = ANY(%s::jsonb[]))", [key, [_json(one) for one in value]]
        case order:
            if isinstance(value, str):
                test, kind, other = f'(fields ->> %s) COLLATE "C" {ORDERED[order]} %s', "string", value
            else:
                test, kind, other = f"(fields ->> %s)::numeric {ORDERED[order]} %s::numeric", "number", _json(value)
            # CASE, since PostgreSQL may evaluate the right side of AND first.
            return f"(CASE WHEN jsonb_typeof(fields -> %s) = '{kind}' THEN {test} END)", [key, key, other]


def _json(value: object) -> str:
    return json.dumps(_number(value), ensure_ascii=False)
