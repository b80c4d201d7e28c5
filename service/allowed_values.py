"""Says in plain words which values a parameter or a setting may have, where pydantic has refused one.

Knows no parameter and no setting.
"""

from typing import Any

# Type of a pydantic error -> which values are allowed, to be filled with the context of the error.
ALLOWED = {
    "greater_than_equal": "at least {ge:.16g}",
    "greater_than": "above {gt:.16g}",
    "less_than_equal": "at most {le:.16g}",
    "multiple_of": "a multiple of {multiple_of:.16g}",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "literal_error": "{expected}",
    "too_short": "a list that is not empty",
    "string_too_short": "a text that is not empty",
    "frozen_set_type": "a list of words, or a text with commas",
}


def allowed(error: Any) -> str:
    """Return which values are allowed, or "" where only the message of the error says that. `error`: one of `errors()`."""
    return ALLOWED.get(error["type"], "").format(**error.get("ctx", {}))
