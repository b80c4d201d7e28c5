"""Conditions -> SQL of PostgreSQL, with all keys and values as parameters. Knows nothing of tables but the column `fields`."""

import json
from typing import Any

import orjson

from service.store.filters import Condition

# from here on the shortest decimals of floats are other numbers than the floats themselves
EXACT = 2.0**53
LONG = range(-(1 << 63), 1 << 63)
ORDERS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def fields_of(metadata: bytes) -> str:
    """Metadata as conditions look at it: large numbers as they are in memory, and not as JSON shortens them."""
    values: dict[str, Any] = orjson.loads(metadata)
    large = {key: _number(value) for key, value in values.items() if _number(value) is not value}
    return json.dumps(values | large, ensure_ascii=False) if large else metadata.decode()


def _number(value: Any) -> Any:
    """Floats that are whole as integers; integers that no engine keeps as such as the floats that they become."""
    if isinstance(value, float) and abs(value) >= EXACT:
        return int(value)
    if isinstance(value, int) and value not in LONG:
        return int(float(value))
    return value


def pgvector_where(conditions: tuple[Condition, ...]) -> tuple[str, list[Any]]:
    """(" AND ... AND ...", parameters)."""
    parts, parameters = [""], list[Any]()
    for condition in conditions:
        sql, values = _test(condition)
        parts.append(f"coalesce({sql}, false)" if condition.operator != "ne" else f"NOT coalesce({sql}, false)")
        parameters += values
    return " AND ".join(parts), parameters


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
                test, kind = f'(fields ->> %s) COLLATE "C" {ORDERS[order]} %s', "string"
            else:
                test, kind = f"(fields ->> %s)::numeric {ORDERS[order]} %s::numeric", "number"
            # CASE, since AND may look at its right side first
            return f"(CASE WHEN jsonb_typeof(fields -> %s) = '{kind}' THEN {test} END)", [
                key,
                key,
                value if isinstance(value, str) else _json(value),
            ]


def _json(value: object) -> str:
    return json.dumps(_number(value), ensure_ascii=False)
