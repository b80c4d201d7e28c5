"""A request and its answer as plain values: what each operation of the service takes and gives, whatever door it came by.

Parameters come from the query, and from the JSON or form body; where both have one, the query wins. Knows nothing of FastAPI,
models or devices.
"""

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError

from service.observe.printable import short
from service.rest.schemas import NoParameters

P = TypeVar("P", bound=NoParameters)

# the longest query whose parsed parameters are cached
SHORT_QUERY = 200
MAX_PARAMETERS = 1000
# of an unknown parameter's name, in the answer and in the search for a similar one
LONGEST_NAME = 80
# of a parameter in JSON; filters are the longest
LONGEST_VALUE = 1 << 20
COUNT = TypeAdapter(int)
MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}")


class BadParameter(Exception):
    """A parameter that does not exist or has no usable value."""


class AskedTooMuch(BadParameter):
    """A parameter that asks for more items than one answer may have."""

    def __init__(self, name: str, asked: int, most: int) -> None:
        super().__init__(f"{name}: the request asks for {asked} items, at most {most} are allowed in one")


def check_count(name: str, asked: int, given: tuple[Mapping[str, Any], Mapping[str, str]], most: int) -> None:
    """How many items a parameter asks for, and how many that of the body does, which may not be the one that counts.

    `given`: what stands in the body. Raises AskedTooMuch.
    """
    for count in (asked, *(_count(where[name]) for where in given if where.get(name) is not None)):
        if count > most:
            raise AskedTooMuch(name, count, most)


def _count(value: Any) -> int:
    """A whole number as the parameters take it, where 3.0 is one as well."""
    return COUNT.validate_strings(value) if isinstance(value, str) else int(value)


def read_parameters(
    kind: type[P], query: str, values: Mapping[str, Any] | None = None, fields: Mapping[str, str] | None = None
) -> P:
    """An operation's parameters from the query, the values of a JSON body, or the fields of a form. Raises BadParameter."""
    if values or fields or len(query) > SHORT_QUERY:
        return _read(kind, query, values or {}, fields or {})
    return cast(P, _of_short_query(kind, query))


@lru_cache(maxsize=1000)
def _of_short_query(kind: type[NoParameters], query: str) -> NoParameters:
    """Parameters do not change, and a caller asks for the same ones again and again."""
    return _read(kind, query, {}, {})


def _read(kind: type[P], query: str, values: Mapping[str, Any], fields: Mapping[str, str]) -> P:
    strings: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise BadParameter(f"the query has more than {MAX_PARAMETERS} parameters") from None
    for name, value in pairs:
        if name in strings and name != "include":  # a list may be spread over several
            raise BadParameter(f"{name}: given twice")
        strings[name] = f"{strings[name]},{value}" if name in strings else value
    for names, beside in ((strings, ()), (fields, kind.files), (values, kind.payload)):
        for name in names:  # there may be a million of them, of which one is enough to name
            if name not in kind.model_fields:
                raise BadParameter(_unknown(name, sorted({*kind.model_fields, *beside})))
    for name, value in values.items():
        if isinstance(value, str) and len(value) > LONGEST_VALUE:
            raise BadParameter(f"{name}: has {len(value)} characters, at most {LONGEST_VALUE} are allowed")
    try:
        if fields and not strings.keys().isdisjoint(fields):
            kind.model_validate_strings(dict(fields))  # what does not count must be right too
        from_strings = kind.model_validate_strings(dict(fields) | strings)
        if not values:
            return from_strings
        from_values = kind.model_validate({name: _whole(value) for name, value in values.items()}, strict=True)
        update = {name: getattr(from_values, name) for name in from_values.model_fields_set - strings.keys()}
        return from_strings.model_copy(update=update)
    except ValidationError as error:
        raise BadParameter(_explain(error, kind)) from None


def _whole(value: Any) -> Any:
    """In JSON 3.0 is as good a whole number as 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unknown(name: str, known: list[str]) -> str:
    name = name[:LONGEST_NAME]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"unknown parameter {name!r}; {hint}"


def _explain(error: ValidationError, kind: type[NoParameters]) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    found = first["input"]
    return f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}, not {short(found)}"
