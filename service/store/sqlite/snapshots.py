"""Snapshots of a collection in the sqlite file: functions that take a connection inside a transaction."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from service.store.interface import Items
from service.store.snapshot import PAGE, Snapshot, Wanted, snapshot_of
from service.store.sqlite.filters import sqlite_where
from service.store.sqlite.known_keys import unknown_keys
from service.store.sqlite.reads import as_items
from service.store.sqlite.writes import find, span


def snapshots(
    connection: sqlite3.Connection, name: str, wanted: Sequence[Wanted], known: Sequence[Snapshot | None], max_bytes: int
) -> list[Snapshot]:
    """Return all that is wanted, in the state of the transaction. Raises UnknownCollection, SnapshotTooLarge."""
    number, collection = find(connection, name)
    found = []
    for one, old in zip(wanted, known, strict=True):
        if old is None or not old.is_of(number, collection, one):
            unknown = unknown_keys(connection, number, collection, one.filter)
            pages = _pages(connection, number, collection.dim, one)
            old = snapshot_of(collection, number, one, pages, unknown, max_bytes)
        found.append(old)
    return found


def _pages(connection: sqlite3.Connection, number: int, dim: int, wanted: Wanted) -> Iterator[Items]:
    where, parameters = sqlite_where(wanted.filter)
    which, first = "number >= ? AND number < ?", list[Any](span(number))
    if wanted.ids is not None:
        which, first = "collection = ? AND id IN (SELECT value FROM json_each(?))", [number, orjson.dumps(wanted.ids).decode()]
    metadata = "metadata" if wanted.with_metadata else "''"
    cursor = connection.execute(
        f"SELECT id, seq, {metadata}, mu, sigma FROM items WHERE {which} AND mu IS NOT NULL{where}",  # noqa: S608
        (*first, *parameters),
    )
    while rows := cursor.fetchmany(PAGE):
        yield as_items(rows, dim)
