"""Changes of the sqlite file, deletions aside: functions that take a connection in a transaction. Knows nothing of threads."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import orjson

from service.store.interface import (
    Collection,
    IfExists,
    Items,
    ModelMismatch,
    Patched,
    StoreFull,
    UnknownCollection,
    UnknownItem,
    Upserted,
)
from service.store.metadata import patched
from service.store.sqlite.file import ITEMS_PER_COLLECTION
from service.store.sqlite.pictures import put_pictures
from service.store.upserts import keys_of, upserted, wanted_of
from service.store.vectors.chunk import row_bytes

COLUMNS = "name, model, digest, dim, metric, description, count, seq, keep, sigma_weight, number"


def find(connection: sqlite3.Connection, name: str, digest: str | None = None) -> tuple[int, Collection]:
    """Return (number, collection). Raises UnknownCollection, and ModelMismatch if its model has another digest than this."""
    row = connection.execute(f"SELECT {COLUMNS} FROM collections WHERE name = ?", (name,)).fetchone()  # noqa: S608
    if row is None:
        raise UnknownCollection(name, (other for (other,) in connection.execute("SELECT name FROM collections")))
    return row[-1], Collection(*row).of_model(digest)


def create(connection: sqlite3.Connection, wanted: Collection) -> Collection:
    """Make a collection, or update model name, metric, its weight, description and `keep` of one. Raises ModelMismatch."""
    changeable = wanted.model, wanted.metric, wanted.sigma_weight, wanted.description, wanted.keep
    row = connection.execute("SELECT 1 FROM collections WHERE name = ?", (wanted.name,)).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO collections (model, metric, sigma_weight, description, keep, name, digest, dim) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*changeable, wanted.name, wanted.digest, wanted.dim),
        )
    else:
        number, found = find(connection, wanted.name)
        if (found.digest, found.dim) != (wanted.digest, wanted.dim):
            raise ModelMismatch(found, wanted.label)
        connection.execute(
            "UPDATE collections SET model = ?, metric = ?, sigma_weight = ?, description = ?, keep = coalesce(?, keep) "
            "WHERE number = ?",
            (*changeable, number),
        )
    return find(connection, wanted.name)[1]


def drop(connection: sqlite3.Connection, name: str) -> Collection:
    """Delete a collection and return what it was. Raises UnknownCollection."""
    number, collection = find(connection, name)
    connection.execute("DELETE FROM collections WHERE number = ?", (number,))
    connection.execute("DELETE FROM keys WHERE collection = ?", (number,))
    connection.execute("DELETE FROM directions WHERE collection = ?", (number,))
    connection.execute("DELETE FROM items WHERE number >= ? AND number < ?", span(number))
    connection.execute("DELETE FROM pictures WHERE number >= ? AND number < ?", span(number))
    return collection


def span(collection: int) -> tuple[int, int]:
    """Return the range of the numbers of a collection's items: from (included), to (excluded)."""
    return collection * ITEMS_PER_COLLECTION, (collection + 1) * ITEMS_PER_COLLECTION


def upsert(
    connection: sqlite3.Connection, name: str, digest: str, items: Items, if_exists: IfExists, bounds: tuple[int, int]
) -> Upserted:
    """Add or replace items. `bounds`: most bytes of vectors and of pictures, in all collections.

    Raises UnknownCollection, ModelMismatch, ItemsExist, StoreFull, PicturesFull.
    """
    number, collection = find(connection, name, digest)
    ids = orjson.dumps(items.ids).decode()
    there = {
        id
        for (id,) in connection.execute(
            "SELECT id FROM items WHERE collection = ? AND mu IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
            (number, ids),
        )
    }
    wanted = wanted_of(name, items, there, if_exists)
    new = sum(items.ids[i] not in there for i in wanted)
    if new:
        needed = vector_bytes(connection) + new * row_bytes(collection.dim)
        if needed > bounds[0]:
            raise StoreFull(needed, bounds[0])
    (first,) = connection.execute(
        "UPDATE collections SET next = next + ?1, seq = seq + ?1, count = count + ?2 WHERE number = ?3 RETURNING next - ?1",
        (len(wanted), new, number),
    ).fetchone()
    first += span(number)[0]
    mu, sigma = items.mu.astype("<f4"), items.sigma.astype("<f4")
    connection.executemany(
        "INSERT INTO items (number, collection, id, seq, mu, sigma, metadata) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) "
        "ON CONFLICT (collection, id) DO UPDATE SET seq = excluded.seq, mu = excluded.mu, sigma = excluded.sigma, "
        "metadata = iif(?8, coalesce(metadata, excluded.metadata), excluded.metadata)",
        (
            (
                first + place,
                number,
                items.ids[i],
                collection.seq + 1 + place,
                mu[i].tobytes(),
                sigma[i].tobytes() if items.has_sigma[i] else None,
                items.metadata[i].decode(),
                i in items.unstated,
            )
            for place, i in enumerate(wanted)
        ),
    )
    _add_keys(connection, number, keys_of(items, wanted))
    put_pictures(connection, number, collection, items, wanted, bounds[1])
    return upserted(items, wanted, there, collection.seq + len(wanted))


def _add_keys(connection: sqlite3.Connection, number: int, keys: Iterable[str]) -> None:
    connection.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", ((number, key) for key in keys))


def patch(connection: sqlite3.Connection, name: str, id: str, patch: dict[str, Any]) -> Patched:
    """Change the metadata of an item by a merge patch. Raises UnknownCollection, UnknownItem, BadItem, MetadataTooLarge."""
    number, collection = find(connection, name)
    row = connection.execute(
        "SELECT metadata FROM items WHERE collection = ? AND id = ? AND mu IS NOT NULL", (number, id)
    ).fetchone()
    if row is None:
        raise UnknownItem(name, id)
    metadata, keys = patched(row[0].encode(), patch, id)
    connection.execute(
        "UPDATE items SET seq = ?, metadata = ? WHERE collection = ? AND id = ?",
        (collection.seq + 1, metadata.decode(), number, id),
    )
    connection.execute("UPDATE collections SET seq = seq + 1 WHERE number = ?", (number,))
    _add_keys(connection, number, keys)
    return Patched(collection.seq + 1, metadata)


def vector_bytes(connection: sqlite3.Connection) -> int:
    """Return the memory that the vectors of all collections take."""
    counts: Iterable[tuple[int, int]] = connection.execute("SELECT count, dim FROM collections")
    return sum(count * row_bytes(dim) for count, dim in counts)
