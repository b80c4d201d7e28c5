"""A small table of people, and what is read of it."""

from pathlib import Path
from typing import Any

from models.kinds.table import Columns
from models.readers.found import Found
from models.readers.table import TableOptions, read_table
from models.readers.table_schema import Schema

PEOPLE = """name,age,height,city,member,split
Ann,31,1.75,Oslo,yes,train
Bob,42,1.80,Rome,no,train
Cid,NA,1.62,Oslo,no,test
Dee,25,1.71,Rome,yes,train
Eve,58,,Rome,yes,train
"""


def read(path: Path, content: str | bytes, schema: dict[str, Any] | None = None) -> Found:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, options=TableOptions(schema=Schema(**(schema or {}))))


def spec_of(found: Found) -> Columns:
    assert isinstance(found.preprocessing, Columns)
    return found.preprocessing


def values(found: Found, name: str) -> list[Any]:
    return [item[name] for item in spec_of(found).items(found.x)]
