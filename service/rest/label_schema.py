"""The parameter `label`: what a conditional model is told, for all items or for each. Knows nothing of models."""

from typing import Annotated

import orjson
from pydantic import BeforeValidator, Field

MOST = 1 << 16
RULE = "must be a text, a whole number, or a list of these"


def as_texts(value: object) -> object:
    """Return labels as texts: of "7", 7, ["7", 3], or of the JSON text of such a list, as in a query. Raises ValueError."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise ValueError(RULE) from None
    if value is None:
        return None
    values = value if isinstance(value, (list, tuple)) else [value]
    if not 0 < len(values) <= MOST or any(isinstance(one, bool) or not isinstance(one, int | str) for one in values):
        raise ValueError(RULE)
    return tuple(str(one) for one in values)


Label = Annotated[
    tuple[str, ...] | None,
    BeforeValidator(as_texts, json_schema_input_type=str | int | list[str | int] | None),
    Field(
        None,
        description="What a conditional model is told: one of the labels in /models for all items, or a JSON list with one "
        "for each. Such a model needs it, and other models take none.",
        examples=["7"],
    ),
]
