"""Reading metrics.json, the numbers beside a checkpoint, for the card, the report and the service.

Knows nothing of what the numbers mean.
"""

from pathlib import Path
from typing import Any

from models.checkpoint import MAX_JSON_BYTES
from models.files.plain_json import parse_json
from models.files.regular_file import read_regular

METRICS = "metrics.json"


def read_metrics(directory: Path) -> dict[str, Any]:
    """Return the numbers, cleaned so that JSON can hold them; {} if the file has no object. Raises OSError, ValueError."""
    metrics = parse_json(read_regular(directory / METRICS, MAX_JSON_BYTES), lenient=True)
    return metrics if isinstance(metrics, dict) else {}
