"""The sqlite file: its connections, its schema with versions and migrations, and what its errors mean.

Knows nothing of searches.
"""

import errno
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.store.interface import DiskFull, StoreBusy, StoreError, StoreUnavailable, StoreUnusable
from service.store.sqlite.identity import FileIdentity

APPLICATION_ID = 0x56414531
# an item's number is its collection's times this, and a count: a collection's items lie together, in the order they came
ITEMS_PER_COLLECTION = 1 << 40
BUSY_SECONDS = 5.0
# of each connection; each keeps the values that it was last asked with
STATEMENTS = 32
CACHE_KIB = 64 << 10
NO_ROOM_BYTES = 1 << 20

# from each version to the next; a published one never changes
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE collections (
             number INTEGER PRIMARY KEY AUTOINCREMENT,
             name TEXT NOT NULL UNIQUE,
             model TEXT NOT NULL,
             digest TEXT NOT NULL,
             dim INTEGER NOT NULL,
             metric TEXT NOT NULL,
             description TEXT NOT NULL,
             count INTEGER NOT NULL DEFAULT 0,
             seq INTEGER NOT NULL DEFAULT 0,
             next INTEGER NOT NULL DEFAULT 0,
             traces INTEGER NOT NULL DEFAULT 0,
             forgotten INTEGER NOT NULL DEFAULT 0
           )""",
        # without a mu: the trace of an item that was deleted, for the feed of changes; vectors are float32, little endian
        """CREATE TABLE items (
             number INTEGER PRIMARY KEY,
             collection INTEGER NOT NULL,
             id TEXT NOT NULL,
             seq INTEGER NOT NULL,
             mu BLOB,
             sigma BLOB,
             metadata TEXT
           )""",
        "CREATE UNIQUE INDEX items_id ON items (collection, id)",
        "CREATE UNIQUE INDEX items_seq ON items (collection, seq)",
        "CREATE TABLE keys (collection INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (collection, key)) WITHOUT ROWID",
    ),
)


class NoFileYet(Exception):
    """There is no file: it is made with the first collection."""


class SqliteFile:
    """Connections to one file, one a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._identity = FileIdentity(path)
        self._emptied = False

    def check(self) -> None:
        """Raise StoreUnusable if the file that is open was deleted or replaced. From any thread, in microseconds."""
        self._identity.check()

    def connection(self, make: bool = False) -> sqlite3.Connection:
        """This thread's. Raises NoFileYet, unless it shall `make` the file, and StoreError."""
        found: sqlite3.Connection | None = getattr(self._own, "connection", None)
        try:
            self.check()
        except StoreUnusable:
            if found is not None:
                self._empty_log(found)
            raise
        if found is not None:
            return found
        if not make and not self.path.exists():
            raise NoFileYet
        with self.meaning(writes=make):
            connection = self._connect()
        with self._lock:
            self._all.append(connection)
            try:
                self._identity.remember()
            except BaseException:
                self._all.pop().close()
                raise
        self._own.connection = connection
        return connection

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        """Once the file was replaced, its log must not be: whoever opens the other file would put it into that one."""
        with self._lock:
            if self._emptied or not self._identity.was_replaced():
                return
            self._emptied = True
        with suppress(sqlite3.Error):  # it goes into the file that has no name any more
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close them all; no thread may use one any more. The last to close a file puts its log into it."""
        if self._all:
            self._empty_log(self._all[0])
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
            self._identity.forget()
            self._emptied = False
        self._own = threading.local()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file for all that is read in the block. Raises NoFileYet, StoreError."""
        connection = self.connection()
        with self.meaning():
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def meaning(self, writes: bool = False) -> Iterator[None]:
        """Errors of sqlite in the block as StoreError."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.explain(error, writes) from error

    def explain(self, error: sqlite3.Error, writes: bool = False) -> StoreError:
        """What an error of sqlite means for the store."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and writes and self._no_room(error)):
            return DiskFull(f"nothing was stored: there is no room for it at {self.path}")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreBusy(f"{self.path}: another process has held the database lock for over {BUSY_SECONDS:g} s; retry")
        if code == sqlite3.SQLITE_READONLY:
            return StoreUnusable(f"{self.path} or its directory cannot be written to")
        if code == sqlite3.SQLITE_CANTOPEN:
            return StoreUnusable(f"{self.path} cannot be opened: is its directory there, and may it be written to?")
        if code == sqlite3.SQLITE_NOTADB:
            return StoreUnusable(
                f"{self.path} is no latent store: it is not a sqlite file, or corrupt from its first bytes on"
            )
        if code == sqlite3.SQLITE_CORRUPT:
            return StoreUnusable(f"{self.path} is corrupt ({error}); restore a backup")
        return StoreUnavailable(f"{self.path}: {error}")

    def overwrite_refused(self, connection: sqlite3.Connection, error: sqlite3.Error) -> None:
        """After a commit that failed: what is refused must not appear later.

        If it was the fsync that failed, the whole change is in the log already, and a process that opens the file after this
        one was killed would take it for done. The next change is written over it; this one changes nothing.
        """
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL):
            with suppress(sqlite3.Error):  # as long as nothing can be written, there is no more to be done
                connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _no_room(self, error: sqlite3.Error) -> bool:
        """Whether it was for want of room: sqlite says the same of quotas and limits as of broken disks."""
        if shutil.disk_usage(self.path.parent).free < NO_ROOM_BYTES:
            return True
        if error.sqlite_errorcode != sqlite3.SQLITE_IOERR_WRITE:
            return False
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        length = max(path.stat().st_size for path in files if path.exists())
        try:
            with tempfile.TemporaryFile(dir=self.path.parent) as file:
                os.pwrite(file.fileno(), bytes(NO_ROOM_BYTES), length)
        except OSError as cause:
            return cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return False

    def _connect(self) -> sqlite3.Connection:
        if self.path.is_file() and not os.access(self.path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise StoreUnusable(f"{self.path} cannot be written to")
        self._identity.check_names()
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS,
        )
        try:
            _check_origin(connection, self.path)
            _set_wal(connection, self.path)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            _migrate(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_wal(connection: sqlite3.Connection, path: Path) -> None:
    """The write-ahead log. Two processes that do this to a new file at once are not kept apart by sqlite's own waiting."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            if mode != "wal":
                raise StoreUnusable(
                    f"{path}: the file system does not support sqlite's WAL mode (journal mode is {mode!r}); use a local disk"
                )
            return


def _check_origin(connection: sqlite3.Connection, path: Path) -> None:
    # one statement, hence one state of the file: another process may be making it at this moment
    application, tables = connection.execute(
        "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
    ).fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise StoreUnusable(f"{path} is a sqlite file of another program")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to this version; several processes may try at once. Waits for nobody when there is nothing to do."""
    if _version(connection, path) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)  # somebody may have been faster
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: Path) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreUnusable(f"{path} has schema version {version}, of a newer service; this one knows {len(MIGRATIONS)}")
    return int(version)
