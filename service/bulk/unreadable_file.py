"""The list of the items that could not be read, as a file. Knows nothing of why they could not be read.

Its name and that of the record beside it begin with an underscore, since programs that read a directory of Parquet files skip
such names.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from models.files.atomic_file import write_atomically
from service.bulk.encoded import Unreadable

UNREADABLE = "_unreadable.jsonl"


def write_unreadable(
    path: Path, unreadable: Sequence[Unreadable], more: Callable[[Unreadable], dict[str, str]] = lambda _: {}
) -> None:
    """Write a line of JSON for each item, with `more` about it. Raises OSError."""
    write_atomically(path, b"".join(orjson.dumps({**one._asdict(), **more(one)}) + b"\n" for one in unreadable))
