"""Directions in the sqlite file: functions that take a connection inside a transaction. Knows nothing of threads."""

import sqlite3
from collections.abc import Sequence

from service.store.directions import MAX_DIRECTIONS, Direction, chosen, from_record
from service.store.interface import DirectionsFull
from service.store.sqlite.writes import find


def put(connection: sqlite3.Connection, name: str, digest: str, direction: Direction, of: int | None) -> None:
    """Add or replace a direction. Raises UnknownCollection, CollectionReplaced, ModelMismatch, DirectionsFull."""
    number, collection = find(connection, name, digest)
    collection.of_number(of)
    connection.execute(
        "INSERT INTO directions VALUES (?, ?, ?, ?) "
        "ON CONFLICT (collection, name) DO UPDATE SET vector = excluded.vector, details = excluded.details",
        (number, direction.name, *direction.record()),
    )
    (count,) = connection.execute("SELECT count(*) FROM directions WHERE collection = ?", (number,)).fetchone()
    if count > MAX_DIRECTIONS:  # raising undoes the change
        raise DirectionsFull(name, MAX_DIRECTIONS)


def directions(
    connection: sqlite3.Connection, name: str, names: Sequence[str] | None = None, digest: str | None = None
) -> list[Direction]:
    """Return all directions, sorted by name; or those with these names, in this order.

    Raises UnknownCollection, UnknownDirection, ModelMismatch.
    """
    number, collection = find(connection, name, digest)
    rows = connection.execute("SELECT name, vector, details FROM directions WHERE collection = ? ORDER BY name", (number,))
    return chosen(name, {row[0]: from_record(row[0], row[1], row[2], collection.dim) for row in rows}, names)


def delete(connection: sqlite3.Connection, name: str, direction: str) -> Direction:
    """Delete a direction, and return what it was. Raises UnknownCollection, UnknownDirection."""
    (gone,) = directions(connection, name, [direction])
    number, _ = find(connection, name)
    connection.execute("DELETE FROM directions WHERE collection = ? AND name = ?", (number, direction))
    return gone
