"""metrics.json, the numbers beside a checkpoint: written by the evaluation; read for the card, the report and the service.

Knows nothing of what the numbers mean.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.checkpoint import MAX_JSON_BYTES
from models.files.atomic_file import write_atomically
from models.files.plain_json import parse_json, plain
from models.files.regular_file import read_regular

METRICS = "metrics.json"
# In the protocol: why a number is null, by its place, such as "factors.mig".
REASONS = "not_finite"


def read_metrics(directory: Path) -> dict[str, Any]:
    """Return the numbers, cleaned so that JSON can hold them; {} if the file has no object. Raises OSError, ValueError."""
    metrics = parse_json(read_regular(directory / METRICS, MAX_JSON_BYTES), lenient=True)
    return metrics if isinstance(metrics, dict) else {}


def finite(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers with null for NaN and infinities, which JSON does not have, and the reasons in the protocol."""
    known = metrics["protocol"].get(REASONS, {})
    reasons = {place: known.get(place, f"the computation gave {value}") for place, value in _not_finite(metrics)}
    found: dict[str, Any] = plain(metrics)
    return {**found, "protocol": {**found["protocol"], REASONS: {**known, **reasons}}} if reasons or known else found


def write_metrics(directory: Path, metrics: Mapping[str, Any]) -> None:
    """Write the numbers, all of which must be finite or None. Raises ValueError, OSError."""
    write_atomically(directory / METRICS, (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode())


def as_numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers with NaN for those that were not finite, so that they can be formatted.

    Earlier versions gave no reasons. A standard error that is not known is None, among the numbers `agreement`.
    """
    named = metrics["protocol"].get(REASONS, {})
    return {key: _as_numbers(value, key, named, value is None or key != "agreement") for key, value in metrics.items()}


def _as_numbers(value: Any, place: str, named: Mapping[str, str], always: bool) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_numbers(one, f"{place}.{key}", named, always) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_numbers(one, f"{place}.{i}", named, always) for i, one in enumerate(value)]
    return math.nan if value is None and (always or place in named) else value


def _not_finite(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Yield the place and the value of each number that is not finite."""
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, one in parts:
        yield from _not_finite(one, f"{place}.{key}" if place else str(key))
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
