"""The parameter `label`: what a conditional model is told, for all items or for each. Knows nothing of models."""

from typing import Annotated

import orjson
from pydantic import BeforeValidator

MOST = 1 << 16
RULE = "must be a text, a whole number, or a list of these"


def as_texts(value: object) -> object:
    """Return labels as texts: of "7", 7, ["7", 3], or of the JSON text of such a list, as in a query. Raises ValueError."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise ValueError(RULE) from None
    values = value if isinstance(value, (list, tuple)) else [value]
    if not 0 < len(values) <= MOST or any(isinstance(one, bool) or not isinstance(one, int | str) for one in values):
        raise ValueError(RULE)
    return tuple(str(one) for one in values)


# In a query and in a form, a list is JSON text. The page has one label, which is always right.
Labels = Annotated[tuple[str, ...], BeforeValidator(as_texts, json_schema_input_type=str)]
TOLD = "The label that a conditional model is told, or a JSON list."
