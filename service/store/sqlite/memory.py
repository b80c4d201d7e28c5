"""A sqlite database in the memory of this process, for what need not outlive it. Knows nothing of what is in it."""

import sqlite3
import uuid
from pathlib import Path

from service.store.sqlite.file import BUSY_SECONDS, STATEMENTS, SqliteFile, migrate


class MemoryFile(SqliteFile):
    """Connections to one database in memory, one for each thread. The database ends when all of them are closed.

    It has no path: `path` is the name under which sqlite's memdb lets the connections of a process share a database.
    """

    def __init__(self) -> None:
        super().__init__(Path(f"/memory-{uuid.uuid4().hex}"))  # only names that start with a slash are shared

    def _exists(self) -> bool:
        return True

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{self.path}?vfs=memdb",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS,
        )
        migrate(connection, self.path)
        return connection
