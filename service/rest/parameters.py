"""Read and check the parameters of an operation, from the query and from the JSON or form body.

If both have the same parameter, the query wins. Knows nothing about FastAPI, models or devices.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError

from service.allowed_values import allowed
from service.formats.number_text import is_number
from service.http.foreign_parameters import is_foreign
from service.json_types import json_type
from service.observe.printable import short
from service.rest.schemas import DecodeParameters, NoParameters
from service.suggestion import suggestion

P = TypeVar("P", bound=NoParameters)

# The longest query whose parsed parameters are cached, in characters.
SHORT_QUERY = 200
MAX_PARAMETERS = 1000
# Longer names of unknown parameters are cut in error messages and in the search for similar names.
LONGEST_NAME = 80
# The longest string parameter in JSON. Filters are the longest.
LONGEST_VALUE = 1 << 20
COUNT = TypeAdapter(int)
TWO_DIMS = re.compile(" *([0-9]{1,6}) *, *([0-9]{1,6}) *")
# The types of errors of which the value found is a number.
NUMBERS = ("greater_than_equal", "greater_than", "less_than_equal", "finite_number")
# Numbers that are names: 7.0 in the query is a text, too, and not the label 7.
AS_SENT = ("label",)
# (Parameter, word that it does not take) -> what to do instead.
HINTS = {("include", "picture"): "; for the original: GET /collections/{name}/items/{id}/picture"}

# Parameters of earlier versions -> why they are gone, and what to do instead.
REMOVED = {
    "active_only": "it made no difference, since the dimensions that a model does not use are alike in all items; leave it out"
}


class BadParameter(Exception):
    """A parameter does not exist, or its value is not allowed."""


class AskedTooMuch(BadParameter):
    """A parameter asks for more items than one answer may have."""


def refuse_parameters(path: str, names: Iterable[str]) -> None:
    """Raise BadParameter for the parameters of a request that takes none. Those that others add to addresses are ignored."""
    found = [name for name in names if not is_foreign(name)]
    if found:
        raise BadParameter(f"{path} takes no parameters, but the query has {', '.join(found)}")


def two_dims(text: str, dim: int) -> tuple[int, int]:
    """Return the two dimensions of a plane that a text names, out of so many. Raises BadParameter."""
    match = TWO_DIMS.fullmatch(text)
    first, second = (int(match[1]), int(match[2])) if match else (0, 0)
    if first == second or max(first, second) >= dim:
        raise BadParameter(f"dims must be two different dimensions from 0 to {dim - 1}, such as 0,1, not {short(text)}")
    return first, second


def check_count(
    name: str, asked: int, given: tuple[Mapping[str, Any], Mapping[str, str]], most: int, things: str = "pictures"
) -> None:
    """Check the number of items that a parameter asks for, in the query and in the body, even if the query overrides the body.

    `asked`: the value that counts. `given`: the parameters in the body. Raises AskedTooMuch.
    """
    for count in (asked, *(_count(where[name]) for where in given if where.get(name) is not None)):
        if count > most:
            raise AskedTooMuch(f"{name} is {count}; at most {most} {things} are allowed in one request")


def _count(value: Any) -> int:
    """Parse a whole number as the parameters do: 3.0 is one as well."""
    return COUNT.validate_strings(value) if isinstance(value, str) else int(value)


def read_parameters(
    kind: type[P], query: str, values: Mapping[str, Any] | None = None, fields: Mapping[str, str] | None = None
) -> P:
    """Read an operation's parameters from the query, JSON values and form fields. Raises BadParameter."""
    if values or fields or len(query) > SHORT_QUERY:
        return _read(kind, query, values or {}, fields or {})
    return cast(P, _read_short_query(kind, query))


@lru_cache(maxsize=1000)
def _read_short_query(kind: type[NoParameters], query: str) -> NoParameters:
    """Cache the results: they are immutable, and callers send the same query again and again."""
    return _read(kind, query, {}, {})


def _read(kind: type[P], query: str, values: Mapping[str, Any], fields: Mapping[str, str]) -> P:
    strings: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise BadParameter(f"the query has more than {MAX_PARAMETERS} parameters") from None
    for name, value in pairs:
        if is_foreign(name):
            continue
        if name in strings and name != "include":  # include=a&include=b is the same as include=a,b.
            raise BadParameter(f"{name} is given twice")
        strings[name] = f"{strings[name]},{value}" if name in strings else value
    for names, beside in ((strings, ()), (fields, kind.files), (values, kind.payload)):
        for name in names:  # There may be a million unknown names; report the first.
            if name not in kind.model_fields:
                raise BadParameter(_unknown(name, sorted({*kind.model_fields, *beside})))
    if strings.get("filter") == "{}":  # It has no condition and does not override one in the body; /docs always sends it.
        del strings["filter"]
    for name, value in values.items():
        if isinstance(value, str) and len(value) > LONGEST_VALUE:
            raise BadParameter(f"{name} has {len(value)} characters, at most {LONGEST_VALUE} are allowed")
    try:
        if fields and not strings.keys().isdisjoint(fields):
            kind.model_validate_strings(dict(fields))  # Values that the query overrides must be valid too.
        from_strings = kind.model_validate_strings(dict(fields) | strings)
        _check_numbers(from_strings, dict(fields) | strings)
        if not values:
            return from_strings
        whole = {name: value if name in AS_SENT else _whole(value) for name, value in values.items()}
        from_values = kind.model_validate(whole, strict=True)
        update = {name: getattr(from_values, name) for name in from_values.model_fields_set - strings.keys()}
        return from_strings.model_copy(update=update)
    except ValidationError as error:
        raise BadParameter(_explain(error, kind)) from None


def _check_numbers(read: NoParameters, texts: Mapping[str, str]) -> None:
    """Raise BadParameter for a text that was read as a number but is not written as one, such as 1_0. pydantic takes it."""
    for name, text in texts.items():
        value = getattr(read, name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not is_number(text):
            raise BadParameter(f"{name} must be a number in plain digits, such as 10 or 0.5, not {short(text)}")


def _whole(value: Any) -> Any:
    """Turn 3.0 into 3, since JSON does not tell them apart."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unknown(name: str, known: list[str]) -> str:
    name = name[:LONGEST_NAME]
    if name in REMOVED:
        return f"the parameter {name!r} was removed: {REMOVED[name]}"
    hint = suggestion(name, known, f"the parameters are {', '.join(known)}")
    return f"unknown parameter {name!r}; {hint}"


def _shown(found: Any, kind: str) -> str:
    """Return a value as JSON has it. A number in the query is a string; it is shown as the number that it is."""
    if found is None or isinstance(found, bool):
        return json_type(found)
    if isinstance(found, str) and kind in NUMBERS:
        return found[:LONGEST_NAME]
    return short(found)


def _explain(error: ValidationError, kind: type[NoParameters]) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    found = first["input"]
    if values := allowed(first):
        hint = HINTS.get((name, found if isinstance(found, str) else ""), "")
        if name == "format" and issubclass(kind, DecodeParameters):
            hint = "; formats in takes of /models says which of these a model answers"
        return f"{name} must be {values}, not {_shown(found, first['type'])}{hint}"
    message = first["msg"].removeprefix("Value error, ").partition(", unable to ")[0]  # The rest is about pydantic.
    between = " " if message.startswith("must ") else ": "
    return f"{name}{between}{message[:1].lower()}{message[1:]}, not {_shown(found, first['type'])}"
