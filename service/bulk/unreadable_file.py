"""The list of the items that could not be read, as a file. Knows nothing of why they could not be read."""

from collections.abc import Sequence
from pathlib import Path

import orjson

from models.files.atomic_file import write_atomically
from service.bulk.encoded import Unreadable

UNREADABLE = "unreadable.jsonl"


def write_unreadable(path: Path, unreadable: Sequence[Unreadable]) -> None:
    """Write a line of JSON for each item. Raises OSError."""
    write_atomically(path, b"".join(orjson.dumps(one._asdict()) + b"\n" for one in unreadable))
