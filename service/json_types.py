"""The names of JSON's types, for error messages. Knows nothing of what the values are for."""

NAMES = {dict: "an object", list: "an array", str: "a string", int: "a number", float: "a number"}


def json_type(value: object) -> str:
    """Return what a parsed JSON value is, as JSON names it: "an array", "a string", "true", "null"."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return NAMES.get(type(value), type(value).__name__)
