"""metrics.json, the numbers beside a checkpoint: read in the same way for the card, the report and the service.

Knows nothing of what the numbers mean.
"""

from pathlib import Path
from typing import Any

from models.checkpoint import MAX_JSON_BYTES
from models.files.plain_json import parse_json
from models.files.regular_file import read_regular

METRICS = "metrics.json"


def read_metrics(directory: Path) -> dict[str, Any]:
    """The numbers, made fit to be written as JSON again; none if the file holds no object. Raises OSError, ValueError."""
    metrics = parse_json(read_regular(directory / METRICS, MAX_JSON_BYTES), lenient=True)
    return metrics if isinstance(metrics, dict) else {}
