"""The sqlite file: connections, schema, migrations, and the translation of sqlite's errors. Knows nothing of searches."""

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
# An item's number is that of its collection times this, plus a count: so the items of a collection lie together on the disk.
ITEMS_PER_COLLECTION = 1 << 40
BUSY_SECONDS = 5.0
# Cached statements of a connection; each keeps its last parameters in memory.
STATEMENTS = 32
CACHE_KIB = 64 << 10
NO_ROOM_BYTES = 1 << 20

# From each version to the next. A published migration never changes.
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
        # A row without a mu is the trace of a deleted item, for indexes in memory. Vectors are float32, little endian.
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
    (
        "ALTER TABLE collections ADD COLUMN keep TEXT",
        "ALTER TABLE collections ADD COLUMN picture_bytes INTEGER NOT NULL DEFAULT 0",
        # Originals of items, under the numbers of the items.
        "CREATE TABLE pictures (number INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    ),
    ("ALTER TABLE collections ADD COLUMN sigma_weight REAL NOT NULL DEFAULT 1.0",),
    (
        # Vectors are float32, little endian; details are JSON.
        """CREATE TABLE directions (
             collection INTEGER NOT NULL,
             name TEXT NOT NULL,
             vector BLOB NOT NULL,
             details TEXT NOT NULL,
             PRIMARY KEY (collection, name)
           )""",
    ),
)


class NoFileYet(Exception):
    """There is no file yet; the first collection makes it."""


class SqliteFile:
    """Connections to one file, one for each thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._identity = FileIdentity(path)
        self._emptied = False

    def check(self) -> None:
        """Raise StoreUnusable if the open file was deleted or replaced. Any thread may call this; it takes microseconds."""
        self._identity.check()

    def connection(self, make: bool = False) -> sqlite3.Connection:
        """Return the connection of this thread. Raises StoreError, and NoFileYet unless `make` says to make the file."""
        found: sqlite3.Connection | None = getattr(self._own, "connection", None)
        try:
            self.check()
        except StoreUnusable:
            if found is not None:
                self._empty_log(found)
            raise
        if found is not None:
            return found
        if not make and not self._exists():
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

    def _exists(self) -> bool:
        return self.path.exists()

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        """Empty the write-ahead log if the file was replaced: whoever opened the other file would apply the log to it."""
        with self._lock:
            if self._emptied or not self._identity.was_replaced():
                return
            self._emptied = True
        with suppress(sqlite3.Error):  # this applies the log to the old file, which has no name any more
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections; no thread may use one any more. sqlite applies the log when the last one closes."""
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
        """Read one state of the file during the block. Raises NoFileYet, StoreError."""
        connection = self.connection()
        with self.meaning():
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def meaning(self, writes: bool = False) -> Iterator[None]:
        """Raise sqlite's errors in the block as StoreError."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.explain(error, writes) from error

    def explain(self, error: sqlite3.Error, writes: bool = False) -> StoreError:
        """Return the StoreError for an error of sqlite."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and writes and self._no_room(error)):
            return DiskFull(f"nothing was changed: there is no room left on the disk of {self.path}; even deletions need some")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreBusy(f"{self.path}: another process has held the database lock for over {BUSY_SECONDS:g} s; try again")
        if code == sqlite3.SQLITE_READONLY:
            return StoreUnusable(f"{self.path} or its directory is not writable; allow the user of this process to write both")
        if self.path.is_dir():
            return StoreUnusable(f"{self.path} is a directory; give the path of a file (VAE_STORE)")
        if code == sqlite3.SQLITE_CANTOPEN:
            return StoreUnusable(f"{self.path} cannot be opened; check that its directory exists and is writable")
        if code == sqlite3.SQLITE_NOTADB:
            return StoreUnusable(
                f"{self.path} is not a latent store: it is not a sqlite file, or its header is corrupt; restore a "
                "backup, or choose another path (VAE_STORE)"
            )
        if code == sqlite3.SQLITE_CORRUPT:
            return StoreUnusable(f"{self.path} is corrupt ({error}); restore a backup")
        return StoreUnavailable(f"{self.path}: {error}")

    def overwrite_refused(self, connection: sqlite3.Connection, error: sqlite3.Error) -> None:
        """After a failed commit, overwrite the change in the log, so that a refused change does not appear later.

        If the fsync failed, the whole change is in the log already. If this process were killed now, the next one to open the
        file would apply it. The commit made here changes nothing, and is written over it.
        """
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL):
            with suppress(sqlite3.Error):  # nothing can be written at all: no more can be done
                connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _no_room(self, error: sqlite3.Error) -> bool:
        """Return whether the disk or a quota is full: sqlite reports these like a broken disk."""
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
            raise StoreUnusable(f"{self.path} is not writable; allow the user of this process to write it")
        self._identity.check_names()
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
        )
        try:
            _check_origin(connection, self.path)
            _set_wal(connection, self.path)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            migrate(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch to WAL mode. sqlite does not wait for another process that does the same to a new file, so this retries."""
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
    # One statement reads one state of the file, which another process may be making at this moment.
    application, tables = connection.execute(
        "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
    ).fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise StoreUnusable(f"{path} is a sqlite file of another program, not a latent store; choose another path")


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to this version. Several processes may try at once; takes no lock if nothing is to be done."""
    if _version(connection, path) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)  # another process may have been faster
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
        raise StoreUnusable(f"{path} has schema version {version} of a newer service; this one knows up to {len(MIGRATIONS)}")
    return int(version)
