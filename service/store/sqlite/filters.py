"""Filters as SQL of sqlite; keys and values are parameters. Knows nothing of tables but the column `metadata`."""

import orjson

from service.store.filters import ORDERED, Condition, Scalar, where

NUMBER = "json_type(metadata, ?) IN ('integer', 'real')"
TEXT = "json_type(metadata, ?) = 'text'"
VALUE = "json_extract(metadata, ?)"


def sqlite_where(conditions: tuple[Condition, ...]) -> tuple[str, list[Scalar]]:
    """Return (" AND ... AND ...", parameters)."""
    return where(conditions, _test)


def _test(condition: Condition) -> tuple[str, list[Scalar]]:
    path, value = f'$."{condition.key}"', condition.value
    match condition.operator:
        case "exists":
            return f"(json_type(metadata, ?) IS {'NOT ' if value else ''}NULL)", [path]
        case "eq" | "ne":
            return _one_of(path, (value,))
        case "in":
            return _one_of(path, value)
        case order:
            if isinstance(value, str):
                return f"({TEXT} AND {VALUE} {ORDERED[order]} ?)", [path, path, value]
            return f"({NUMBER} AND {VALUE} {ORDERED[order]} json_extract(?, '$'))", [path, path, _json(value)]


def _one_of(path: str, values: tuple[Scalar, ...]) -> tuple[str, list[Scalar]]:
    """Test for equality of value and type: 1, true and "1" are three values."""
    tests, parameters = ["0"], list[Scalar]()
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    others = {"null" if value is None else str(value).lower() for value in values if value is None or isinstance(value, bool)}
    for kind, some in ((TEXT, texts), (NUMBER, numbers)):
        if some:
            tests.append(f"({kind} AND {VALUE} IN (SELECT value FROM json_each(?)))")  # noqa: S608
            parameters += [path, path, _json(some)]
    for name in sorted(others):
        tests.append("(json_type(metadata, ?) = ?)")
        parameters += [path, name]
    return f"({' OR '.join(tests)})", parameters


def _json(value: object) -> str:
    """Encode numbers as the metadata has them: both are then parsed by sqlite, whose last bit may be wrong."""
    return orjson.dumps(value).decode()
