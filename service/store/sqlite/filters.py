"""Filters as SQL of sqlite; keys and values are parameters. Knows nothing of tables but the column `metadata`."""

import orjson

from service.store.filters import ORDERED, Condition, Scalar, where

Sql = tuple[str, list[Scalar]]


def sqlite_where(conditions: tuple[Condition, ...]) -> Sql:
    """Return (" AND ... AND ...", parameters)."""
    return where(conditions, _test)


def _test(condition: Condition) -> Sql:
    place, at = _place(condition)
    kind, found, value = f"json_type(metadata, {place})", f"json_extract(metadata, {place})", condition.value
    match condition.operator:
        case "exists":
            return f"({kind} IS {'NOT ' if value else ''}NULL)", at
        case "eq" | "ne":
            return _one_of(place, at, (value,))
        case "in":
            return _one_of(place, at, value)
        case "contains":
            test, parameters = _element_of(place, at, (value,))
            if not isinstance(value, str):
                return f"(CASE {kind} WHEN 'array' THEN {test} END)", [*at, *parameters]
            text = f"instr({found}, ?) > 0"
            return f"(CASE {kind} WHEN 'array' THEN {test} WHEN 'text' THEN {text} END)", [*at, *parameters, *at, value]
        case order:
            if isinstance(value, str):
                return f"({kind} = 'text' AND {found} {ORDERED[order]} ?)", [*at, *at, value]
            is_number = f"{kind} IN ('integer', 'real')"
            return f"({is_number} AND {found} {ORDERED[order]} json_extract(?, '$'))", [*at, *at, _json(value)]


def _place(condition: Condition) -> Sql:
    """Return where the value is, as a JSON path: at the key itself if the item has it, else at the end of the path."""
    key = f'$."{condition.key}"'
    if not condition.path:
        return "?", [key]
    path = "$" + "".join(f'."{one}"' for one in condition.path)
    return "CASE WHEN json_type(metadata, ?) IS NULL THEN ? ELSE ? END", [key, path, key]


def _one_of(place: str, at: list[Scalar], values: tuple[Scalar, ...]) -> Sql:
    """Test whether the value is one of these, or a list with one of them."""
    element, own = _element_of(place, at, values)
    branches, parameters = f" WHEN 'array' THEN {element}", [*at]
    for kind, some in _by_kind(values).items():
        branches = f" WHEN '{kind}' THEN {_among(f'json_extract(metadata, {place})') if some else 1}{branches}"
        own = [*at, _json(some), *own] if some else own
    return f"(CASE json_type(metadata, {place}){branches} END)", [*parameters, *own]


def _element_of(place: str, at: list[Scalar], values: tuple[Scalar, ...]) -> Sql:
    """Test whether an element of a list is one of the values."""
    tests, parameters = "", [*at]
    for kind, some in _by_kind(values).items():
        tests += f" WHEN '{kind}' THEN {_among('one.value') if some else 1}"
        parameters += [_json(some)] if some else []
    test = f"CASE one.type{tests} END" if tests else "0"
    return f"EXISTS (SELECT 1 FROM json_each(metadata, {place}) AS one WHERE {test})", parameters  # noqa: S608


def _among(found: str) -> str:
    return f"{found} IN (SELECT value FROM json_each(?))"  # noqa: S608


def _by_kind(values: tuple[Scalar, ...]) -> dict[str, list[Scalar]]:
    """Return the values by the type of sqlite that equal ones have, since 1, true and "1" are three; null has no others."""
    kinds: dict[str, list[Scalar]] = {}
    for value in values:
        if isinstance(value, str):
            kinds.setdefault("text", []).append(value)
        elif value is None or isinstance(value, bool):
            kinds["null" if value is None else str(value).lower()] = []
        else:
            for kind in ("integer", "real"):
                kinds.setdefault(kind, []).append(value)
    return kinds


def _json(value: object) -> str:
    """Encode numbers as the metadata has them: both are then parsed by sqlite, whose last bit may be wrong."""
    return orjson.dumps(value).decode()
