"""Filters as SQL of PostgreSQL; keys and values are parameters. Knows nothing of tables but the column `fields`."""

import json
from typing import Any

import orjson

from service.store.filters import ORDERED, Condition, where

# From here on the shortest decimal form of a float may be a number other than the float.
EXACT = 2.0**53
# With more values than this, hashing them is faster than a comparison with each.
FEW = 8
LONG = range(-(1 << 63), 1 << 63)


def fields_of(metadata: bytes) -> str:
    """Return metadata for comparison: large floats with all their digits, not in the shortest form that JSON has."""
    values = orjson.loads(metadata)
    return json.dumps(_exact(values), ensure_ascii=False) if _has_large(values) else metadata.decode()


def _has_large(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_large, value.values() if isinstance(value, dict) else value))
    return _number(value) is not value


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _exact(one) for key, one in value.items()}
    return [_exact(one) for one in value] if isinstance(value, list) else _number(value)


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
    value = condition.value
    found, text, at = _place(condition)
    kind = f"jsonb_typeof({found})"
    match condition.operator:
        case "exists":
            return f"({found} IS {'NOT ' if value else ''}NULL)", at
        case "eq" | "ne":  # @> is equality for a scalar, and for a list whether it has the element
            return f"({found} @> %s::jsonb)", [*at, _json(canonical(value))]
        case "in":
            values = [_json(one) for one in value]
            listed = f"{found} @> ANY(%s::jsonb[])"
            if len(values) <= FEW:
                return f"({listed})", [*at, values]
            scalar = f"{found} IN (SELECT jsonb_array_elements(%s::jsonb))"
            test = f"(CASE {kind} WHEN 'array' THEN {listed} ELSE {scalar} END)"
            return test, [*at, *at, values, *at, f"[{','.join(values)}]"]
        case "contains":
            element, own = f"{found} @> %s::jsonb", [*at, _json(value)]
            if not isinstance(value, str):
                return f"(CASE {kind} WHEN 'array' THEN {element} END)", [*at, *own]
            part = f"""strpos({text} COLLATE "C", %s) > 0"""
            return f"(CASE {kind} WHEN 'array' THEN {element} WHEN 'string' THEN {part} END)", [*at, *own, *at, value]
        case order:
            compared, parameters = ordered(condition.key, isinstance(value, str))
            if isinstance(value, str):
                return f"({compared} {ORDERED[order]} %s)", [*parameters, value]
            return f"({compared} {ORDERED[order]} %s::numeric)", [*parameters, _json(value)]


def ordered(key: str, is_text: bool) -> tuple[str, list[Any]]:
    """Return the text or the number at a key as SQL, for comparisons of order, and its parameters. It is NULL for others."""
    found, text, at = _place(Condition(key, "exists", True))
    # CASE, since PostgreSQL may evaluate the right side of AND first.
    value, kind = (text, "string") if is_text else (f"{text}::numeric", "number")
    sql = f"(CASE WHEN jsonb_typeof({found}) = '{kind}' THEN {value} END)"
    return f'({sql} COLLATE "C")' if is_text else sql, [*at, *at]


def place(key: str) -> tuple[str, list[Any]]:
    """Return the value at a key as SQL, and its parameters."""
    found, _, parameters = _place(Condition(key, "exists", True))
    return found, parameters


def canonical(value: Any) -> Any:
    """Return the scalar that stands for all that are equal to this one in a filter: 7 for 7.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else _number(value)


def _place(condition: Condition) -> tuple[str, str, list[Any]]:
    """Return (value, the same as text, parameters of each): at the key itself if the item has it, else at the end of the path.

    A path goes through objects, never through lists.
    """
    if not condition.path:
        return "(fields -> %s)", "(fields ->> %s)", [condition.key]
    found = f"coalesce(fields -> %s, fields{' -> %s' * len(condition.path)})"
    return found, f"({found} #>> '{{}}')", [condition.key, *condition.path]


def _json(value: object) -> str:
    return json.dumps(_number(value), ensure_ascii=False)
