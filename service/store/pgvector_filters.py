"""Conditions -> SQL of PostgreSQL, with all keys and values as parameters. Knows nothing of tables but the column `fields`."""

from typing import Any

import orjson

from service.store.filters import Condition

ORDERS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


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
    return orjson.dumps(value).decode()
