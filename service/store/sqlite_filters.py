"""Conditions -> SQL of sqlite, with all keys and values as parameters. Knows nothing of tables but the column `metadata`."""

from service.store.filters import Condition, Scalar

ORDERS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
NUMBER = "json_type(metadata, ?) IN ('integer', 'real')"
TEXT = "json_type(metadata, ?) = 'text'"
VALUE = "json_extract(metadata, ?)"


def sqlite_where(conditions: tuple[Condition, ...]) -> tuple[str, list[Scalar]]:
    """(" AND ... AND ...", parameters)."""
    parts, parameters = [""], list[Scalar]()
    for condition in conditions:
        sql, values = _test(condition)
        parts.append(f"coalesce({sql}, 0)" if condition.operator != "ne" else f"NOT coalesce({sql}, 0)")
        parameters += values
    return " AND ".join(parts), parameters


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
            kind = TEXT if isinstance(value, str) else NUMBER
            return f"({kind} AND {VALUE} {ORDERS[order]} ?)", [path, path, value]


def _one_of(path: str, values: tuple[Scalar, ...]) -> tuple[str, list[Scalar]]:
    """Equality with types: 1, true and "1" are three values."""
    tests, parameters = ["0"], list[Scalar]()
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    others = {"null" if value is None else str(value).lower() for value in values if value is None or isinstance(value, bool)}
    for kind, some in ((TEXT, texts), (NUMBER, numbers)):
        if some:
            tests.append(f"({kind} AND {VALUE} IN ({', '.join('?' * len(some))}))")
            parameters += [path, path, *some]
    for name in sorted(others):
        tests.append("(json_type(metadata, ?) = ?)")
        parameters += [path, name]
    return f"({' OR '.join(tests)})", parameters
