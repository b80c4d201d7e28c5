"""Filters as parameters, and their schema for the OpenAPI page. `service.store.filters` says what they mean.

Knows nothing about how they are served.
"""

from typing import Annotated

import orjson
from pydantic import PlainValidator, WithJsonSchema

from service.observe.printable import short
from service.store.filters import MAX_KEY, MAX_KEYS, MAX_VALUES, ORDERED, BadFilter, Condition, parse_filter

NO_NUL = r"^[^\x00]*$"


def _conditions(value: object) -> tuple[Condition, ...]:
    """Parse a filter, which in a query is JSON text. Raises BadFilter even for a filter that another one overrides."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise BadFilter(f'filter must be a JSON object such as {{"label": 7}}, not {short(value)} ({error})') from None
    return () if value is None else parse_filter(value)


TEXT = {"type": "string", "pattern": NO_NUL}
NUMBER = {"type": "number"}
SCALAR = {"anyOf": [TEXT, NUMBER, {"type": "boolean"}, {"type": "null"}]}
TESTS = {
    "$id": "FilterTests",
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("eq", "ne", "contains"), SCALAR),
        **{name: {"anyOf": [TEXT, NUMBER]} for name in ORDERED},
        "in": {"type": "array", "maxItems": MAX_VALUES, "items": SCALAR},
        "exists": {"type": "boolean"},
    },
}
# "$id" names a part of the OpenAPI page, see components.py.
FILTER_SCHEMA = {
    "$id": "Filter",
    "type": ["object", "null"],
    "maxProperties": MAX_KEYS,
    "propertyNames": {"minLength": 1, "maxLength": MAX_KEY, "pattern": r'^[^\x00-\x1f\x7f-\x9f"\\]+$'},
    "additionalProperties": {"anyOf": [*SCALAR["anyOf"], TESTS]},
}
Filter = Annotated[tuple[Condition, ...], PlainValidator(_conditions), WithJsonSchema(FILTER_SCHEMA)]
FILTER = (
    'JSON conditions on the metadata, which must all hold: {"label": 7, "year": {"gte": 2020}, "city": {"in": ["a", "b"]}}. '
    "The operators are eq, ne, in, contains, gt, gte, lt, lte and exists. A list matches by its elements. unknown_keys in the "
    "answer names keys that no item has."
)
STRICT = "true refuses a filter with a key that no item of the collection has, unless the collection is empty."
STRICT_DELETION = (
    f'{STRICT} Even without it, a deletion is refused (409) if the key of a condition with ne or "exists": false is one that '
    "no item has, since it would match every item."
)
