"""Changes of the sqlite file: functions that take a connection inside a transaction. Knows nothing of threads."""

import sqlite3
from collections.abc import Iterable

import orjson

from service.store.interface import Collection, Items, ModelMismatch, StoreFull, UnknownCollection, UnknownItem
from service.store.sqlite.file import ITEMS_PER_COLLECTION
from service.store.vectors.chunk import row_bytes

# Traces of deleted items that a collection keeps; more if it has more items.
MAX_TRACES = 10_000
COLUMNS = "name, model, digest, dim, metric, description, count, seq"


def find(connection: sqlite3.Connection, name: str, digest: str | None = None) -> tuple[int, Collection]:
    """Return (number, collection). Raises UnknownCollection, and ModelMismatch if its model has another digest than this."""
    row = connection.execute(f"SELECT number, {COLUMNS} FROM collections WHERE name = ?", (name,)).fetchone()  # noqa: S608
    if row is None:
        raise UnknownCollection(name, (other for (other,) in connection.execute("SELECT name FROM collections")))
    return row[0], Collection(*row[1:]).of_model(digest)


def create(connection: sqlite3.Connection, wanted: Collection) -> Collection:
    """Make a collection, or update model name, metric and description of an existing one. Raises ModelMismatch."""
    row = connection.execute("SELECT 1 FROM collections WHERE name = ?", (wanted.name,)).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO collections (name, model, digest, dim, metric, description) VALUES (?, ?, ?, ?, ?, ?)",
            (wanted.name, wanted.model, wanted.digest, wanted.dim, wanted.metric, wanted.description),
        )
    else:
        number, found = find(connection, wanted.name)
        if (found.digest, found.dim) != (wanted.digest, wanted.dim):
            raise ModelMismatch(found, wanted.label)
        connection.execute(
            "UPDATE collections SET model = ?, metric = ?, description = ? WHERE number = ?",
            (wanted.model, wanted.metric, wanted.description, number),
        )
    return find(connection, wanted.name)[1]


def drop(connection: sqlite3.Connection, name: str) -> Collection:
    """Delete a collection and return what it was. Raises UnknownCollection."""
    number, collection = find(connection, name)
    connection.execute("DELETE FROM collections WHERE number = ?", (number,))
    connection.execute("DELETE FROM keys WHERE collection = ?", (number,))
    connection.execute("DELETE FROM items WHERE number >= ? AND number < ?", span(number))
    return collection


def span(collection: int) -> tuple[int, int]:
    """Return the range of the numbers of a collection's items: from (included), to (excluded)."""
    return collection * ITEMS_PER_COLLECTION, (collection + 1) * ITEMS_PER_COLLECTION


def upsert(connection: sqlite3.Connection, name: str, digest: str, items: Items, max_bytes: int) -> int:
    """Add or replace items and return the new sequence number. Raises UnknownCollection, ModelMismatch, StoreFull."""
    number, collection = find(connection, name, digest)
    (there,) = connection.execute(
        "SELECT count(*) FROM items WHERE collection = ? AND mu IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
        (number, orjson.dumps(items.ids).decode()),
    ).fetchone()
    if len(items) > there:
        needed = vector_bytes(connection) + (len(items) - there) * row_bytes(collection.dim)
        if needed > max_bytes:
            raise StoreFull(needed, max_bytes)
    (first,) = connection.execute(
        "UPDATE collections SET next = next + ?1, seq = seq + ?1, count = count + ?1 - ?2 WHERE number = ?3 "
        "RETURNING next - ?1",
        (len(items), there, number),
    ).fetchone()
    first += span(number)[0]
    mu, sigma = items.mu.astype("<f4"), items.sigma.astype("<f4")
    connection.executemany(
        "INSERT INTO items (number, collection, id, seq, mu, sigma, metadata) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (collection, id) DO UPDATE SET "
        "seq = excluded.seq, mu = excluded.mu, sigma = excluded.sigma, metadata = excluded.metadata",
        (
            (
                first + i,
                number,
                items.ids[i],
                collection.seq + 1 + i,
                mu[i].tobytes(),
                sigma[i].tobytes() if items.has_sigma[i] else None,
                items.metadata[i].decode(),
            )
            for i in range(len(items))
        ),
    )
    connection.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", ((number, key) for key in items.keys))
    return collection.seq + len(items)


def delete(connection: sqlite3.Connection, name: str, id: str) -> int:
    """Delete an item but keep its trace, by which indexes in memory learn of it. Raises UnknownCollection, UnknownItem."""
    number, collection = find(connection, name)
    changed = connection.execute(
        "UPDATE items SET seq = ?, mu = NULL, sigma = NULL, metadata = NULL "
        "WHERE collection = ? AND id = ? AND mu IS NOT NULL",
        (collection.seq + 1, number, id),
    )
    if not changed.rowcount:
        raise UnknownItem(name, id)
    (traces,) = connection.execute(
        "UPDATE collections SET seq = seq + 1, count = count - 1, traces = traces + 1 WHERE number = ? RETURNING traces",
        (number,),
    ).fetchone()
    if traces > max(MAX_TRACES, collection.count):
        connection.execute("DELETE FROM items WHERE number >= ? AND number < ? AND mu IS NULL", span(number))
        connection.execute("UPDATE collections SET traces = 0, forgotten = seq WHERE number = ?", (number,))
    return collection.seq + 1


def vector_bytes(connection: sqlite3.Connection) -> int:
    """Return the memory that the vectors of all collections take."""
    counts: Iterable[tuple[int, int]] = connection.execute("SELECT count, dim FROM collections")
    return sum(count * row_bytes(dim) for count, dim in counts)
