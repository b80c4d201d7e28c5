"""Snapshots of a collection in PostgreSQL: functions that take a connection inside a transaction."""

from collections.abc import Iterator, Sequence

from service.store.interface import Items
from service.store.postgres.filters import pgvector_where
from service.store.postgres.known_keys import unknown_keys
from service.store.postgres.schema import PgConnection, table
from service.store.postgres.work import as_items, find
from service.store.snapshot import PAGE, Snapshot, Wanted, snapshot_of

STREAM = "vae_snapshot"


def snapshots(
    connection: PgConnection, name: str, wanted: Sequence[Wanted], known: Sequence[Snapshot | None], max_bytes: int
) -> list[Snapshot]:
    """Return all that is wanted, from one state of the database. Raises UnknownCollection, SnapshotTooLarge."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    number, collection = find(connection, name)
    found = []
    for one, old in zip(wanted, known, strict=True):
        if old is None or not old.is_of(number, collection, one):
            unknown = unknown_keys(connection, number, collection, one.filter)
            old = snapshot_of(collection, number, one, _pages(connection, number, collection.dim, one), unknown, max_bytes)
        found.append(old)
    return found


def _pages(connection: PgConnection, number: int, dim: int, wanted: Wanted) -> Iterator[Items]:
    where, parameters = pgvector_where(wanted.filter)
    which, first = ("true", []) if wanted.ids is None else ("id = ANY(%s)", [list(wanted.ids)])
    metadata = "metadata" if wanted.with_metadata else "''"
    with connection.cursor(STREAM, binary=True) as cursor:
        cursor.itersize = PAGE
        cursor.execute(
            f"SELECT id, seq, {metadata}, vector_send(both_), has_sigma FROM {table(number)} WHERE {which}{where}",  # noqa: S608
            (*first, *parameters),
        )
        while rows := cursor.fetchmany(PAGE):
            yield as_items(rows, dim)
