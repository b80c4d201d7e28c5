"""Originals of items in the sqlite file: functions that take a connection inside a transaction. Knows nothing of threads."""

import sqlite3
from collections.abc import Iterable, Sequence

import orjson

from service.store.interface import Collection, Items, PicturesFull
from service.store.upserts import originals


def put_pictures(
    connection: sqlite3.Connection,
    number: int,
    collection: Collection,
    items: Items,
    wanted: Sequence[int],
    max_bytes: int,
) -> None:
    """Replace the originals of items; without an original, one that is there is removed. Raises PicturesFull."""
    kept = originals(collection, items, wanted)
    (bytes_before,) = connection.execute("SELECT picture_bytes FROM collections WHERE number = ?", (number,)).fetchone()
    if not kept and not bytes_before:
        return
    ids = orjson.dumps([items.ids[i] for i in wanted]).decode()
    numbers = dict(
        connection.execute(
            "SELECT id, number FROM items WHERE collection = ? AND id IN (SELECT value FROM json_each(?))", (number, ids)
        ).fetchall()
    )
    remove_pictures(connection, number, numbers.values())
    added = sum(map(len, kept.values()))
    if added:
        (stored,) = connection.execute("SELECT sum(picture_bytes) FROM collections").fetchone()
        if stored + added > max_bytes:
            raise PicturesFull(stored + added, max_bytes)
        connection.executemany("INSERT INTO pictures VALUES (?, ?)", ((numbers[id], data) for id, data in kept.items()))
        connection.execute("UPDATE collections SET picture_bytes = picture_bytes + ? WHERE number = ?", (added, number))


def remove_pictures(connection: sqlite3.Connection, number: int, numbers: Iterable[int]) -> None:
    """Remove the originals of a collection's items, given their numbers."""
    which = orjson.dumps(list(numbers)).decode()
    connection.execute(
        "UPDATE collections SET picture_bytes = picture_bytes - (SELECT coalesce(sum(length(data)), 0) FROM pictures "
        "WHERE number IN (SELECT value FROM json_each(?))) WHERE number = ?",
        (which, number),
    )
    connection.execute("DELETE FROM pictures WHERE number IN (SELECT value FROM json_each(?))", (which,))
