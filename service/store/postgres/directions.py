"""Directions in PostgreSQL: functions that take a connection inside a transaction. Knows nothing of pools or retries."""

from collections.abc import Sequence

from service.store.directions import MAX_DIRECTIONS, Direction, chosen, from_record
from service.store.interface import DirectionsFull
from service.store.postgres.schema import PgConnection
from service.store.postgres.work import STATEMENT_SECONDS, find


def put(connection: PgConnection, name: str, digest: str, direction: Direction, of: int | None) -> None:
    """Add or replace a direction. Raises UnknownCollection, CollectionReplaced, ModelMismatch, DirectionsFull."""
    number, collection = find(connection, name, digest, STATEMENT_SECONDS)
    collection.of_number(of)
    connection.execute(
        "INSERT INTO vae_directions VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (collection, name) DO UPDATE SET vector = excluded.vector, details = excluded.details",
        (number, direction.name, *direction.record()),
    )
    [(count,)] = connection.execute("SELECT count(*) FROM vae_directions WHERE collection = %s", (number,))
    if count > MAX_DIRECTIONS:  # raising undoes the change
        raise DirectionsFull(name, MAX_DIRECTIONS)


def directions(
    connection: PgConnection, name: str, names: Sequence[str] | None = None, digest: str | None = None
) -> list[Direction]:
    """Return all directions, sorted by name; or those with these names, in this order.

    Raises UnknownCollection, UnknownDirection, ModelMismatch.
    """
    number, collection = find(connection, name, digest)
    rows = connection.execute(
        "SELECT name, vector, details FROM vae_directions WHERE collection = %s ORDER BY name", (number,)
    )
    return chosen(name, {row[0]: from_record(row[0], row[1], row[2], collection.dim) for row in rows}, names)


def delete(connection: PgConnection, name: str, direction: str) -> Direction:
    """Delete a direction, and return what it was. Raises UnknownCollection, UnknownDirection."""
    number, _ = find(connection, name, lock_for=STATEMENT_SECONDS)
    (gone,) = directions(connection, name, [direction])
    connection.execute("DELETE FROM vae_directions WHERE collection = %s AND name = %s", (number, direction))
    return gone
