"""The type of the parameter `bandwidth`: auto, or a number. Knows nothing of what a bandwidth is for."""

from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema


def _bandwidth(value: object) -> float | str:
    """Return a bandwidth: auto, or a number. Raises ValueError."""
    if value == "auto":
        return "auto"
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= MAX_BANDWIDTH:
        raise ValueError(f"must be auto, or a number from 0 to {MAX_BANDWIDTH:.0f}")
    return number


def _any_bandwidth(value: object) -> float | str | None:
    return None if value is None else _bandwidth(value)


MAX_BANDWIDTH = 1e6
_BANDWIDTHS = [{"type": "string", "enum": ["auto"]}, {"type": "number", "minimum": 0, "maximum": MAX_BANDWIDTH}]
Bandwidth = Annotated[Any, PlainValidator(_bandwidth), WithJsonSchema({"anyOf": _BANDWIDTHS})]
AnyBandwidth = Annotated[
    Any, PlainValidator(_any_bandwidth), WithJsonSchema({"anyOf": [*_BANDWIDTHS, {"type": "null"}]})
]  # or none is stated
