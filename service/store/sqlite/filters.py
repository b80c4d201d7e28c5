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
    kind = f"json_type(metadata, {place})"
    element, own = _element_of(place, at, values)
    scalar, others = _equal(kind, f"json_extract(metadata, {place})", at, values)
    return f"(CASE {kind} WHEN 'array' THEN {element} ELSE {scalar} END)", [*at, *own, *others]


def _element_of(place: str, at: list[Scalar], values: tuple[Scalar, ...]) -> Sql:
    """Test whether an element of a list is one of the values."""
    test, parameters = _equal("one.type", "one.value", [], values)
    return f"EXISTS (SELECT 1 FROM json_each(metadata, {place}) AS one WHERE {test})", [*at, *parameters]  # noqa: S608


def _equal(kind: str, found: str, at: list[Scalar], values: tuple[Scalar, ...]) -> Sql:
    """Test for equality of value and type: 1, true and "1" are three values. `at`: the parameters of `kind`, and of `found`."""
    tests, parameters = ["0"], list[Scalar]()
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    others = {"null" if value is None else str(value).lower() for value in values if value is None or isinstance(value, bool)}
    for is_kind, some in ((f"{kind} = 'text'", texts), (f"{kind} IN ('integer', 'real')", numbers)):
        if some:
            tests.append(f"({is_kind} AND {found} IN (SELECT value FROM json_each(?)))")  # noqa: S608
            parameters += [*at, *at, _json(some)]
    for name in sorted(others):
        tests.append(f"({kind} = ?)")
        parameters += [*at, name]
    return f"({' OR '.join(tests)})", parameters


def _json(value: object) -> str:
    """Encode numbers as the metadata has them: both are then parsed by sqlite, whose last bit may be wrong."""
    return orjson.dumps(value).decode()
