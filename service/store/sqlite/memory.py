"""A sqlite database in the memory of this process, for what need not outlive it. Knows nothing of what is in it."""

import sqlite3
import uuid
from pathlib import Path

from service.store.sqlite.file import BUSY_SECONDS, STATEMENTS, SqliteFile, migrate


class MemoryFile(SqliteFile):
    """Connections to one database in memory, one for each thread. It is gone when they are closed."""

    def __init__(self) -> None:
        super().__init__(Path(f"/memory-{uuid.uuid4().hex}"))  # sqlite shares it if its name starts with a slash

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
