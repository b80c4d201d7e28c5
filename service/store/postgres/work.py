"""Collections and reads in PostgreSQL: functions that take a connection inside a transaction. Knows nothing of pools."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from service.store.filters import Condition
from service.store.interface import (
    Collection,
    Floats,
    Items,
    ModelMismatch,
    NoPicture,
    StoreBusy,
    UnknownCollection,
    UnknownItem,
)
from service.store.postgres.filters import pgvector_where
from service.store.postgres.indexes import make_index
from service.store.postgres.known_keys import unknown_keys
from service.store.postgres.schema import LOCK, PgConnection, make_table, table

# Timeouts of a statement that waits for no lock: for a filter over millions of items, and for making an index.
STATEMENT_SECONDS = 30.0
INDEX_SECONDS = 3600.0
COLUMNS = "name, model, digest, dim, metric, description, count, seq, keep, sigma_weight, number, change::text"
ITEM = "id, seq, metadata, vector_send(both_), has_sigma"


def find(connection: PgConnection, name: str, digest: str | None = None, lock_for: float = 0) -> tuple[int, Collection]:
    """Return (number, collection). Raises UnknownCollection, and ModelMismatch if its model has another digest than this.

    `lock_for`: lock the collection until the end of the transaction, and then allow each statement that many seconds. The
    timeout is shorter before: who is next in line for a row waits for several locks, each with a timeout of its own.
    """
    row = connection.execute(
        f"SELECT {COLUMNS} FROM vae_collections WHERE name = %s{' FOR UPDATE' if lock_for else ''}",  # noqa: S608
        (name,),
    ).fetchone()
    if row is None:
        raise UnknownCollection(name, [other for (other,) in connection.execute("SELECT name FROM vae_collections")])
    if lock_for:
        connection.execute(f"SET LOCAL statement_timeout = {round(1000 * lock_for)}".encode())
    return row[-2], Collection(*row).of_model(digest)


def collections(connection: PgConnection) -> list[Collection]:
    """Return all collections, sorted by name."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM vae_collections ORDER BY name")  # noqa: S608
    return [Collection(*row) for row in rows]


def create(connection: PgConnection, wanted: Collection) -> Collection:
    """Make a collection, or update model name, metric, its weight, description and `keep` of one.

    Raises ModelMismatch, and StoreBusy if the metric changes while `index` makes indexes.
    """
    changeable = wanted.model, wanted.metric, wanted.sigma_weight, wanted.description, wanted.keep
    made = connection.execute(
        "INSERT INTO vae_collections (model, metric, sigma_weight, description, keep, name, digest, dim) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (name) DO NOTHING RETURNING number",
        (*changeable, wanted.name, wanted.digest, wanted.dim),
    ).fetchone()
    number, found = find(connection, wanted.name, lock_for=INDEX_SECONDS)
    if (found.digest, found.dim) != (wanted.digest, wanted.dim):
        raise ModelMismatch(found, wanted.label)
    if made:
        make_table(connection, number, wanted.dim)
    else:
        connection.execute(
            "UPDATE vae_collections SET model = %s, metric = %s, sigma_weight = %s, description = %s, "
            "keep = coalesce(%s, keep), change = gen_random_uuid() WHERE number = %s",
            (*changeable, number),
        )
    # A collection whose index was dropped, as for a bulk load, gets none before its metric changes.
    if made or (found.metric, found.sigma_weight) != (wanted.metric, wanted.sigma_weight):
        [(is_free,)] = connection.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", (LOCK, number))
        if not is_free:
            raise StoreBusy(
                f"`python -m service.store index` makes indexes of the collection {wanted.name!r}, which go with its metric "
                "and its weight of sigma; nothing was changed; try again when it has finished"
            )
        make_index(connection, number, wanted)
    return find(connection, wanted.name)[1]


def drop(connection: PgConnection, name: str) -> Collection:
    """Delete a collection and return what it was. Raises UnknownCollection."""
    number, collection = find(connection, name, lock_for=STATEMENT_SECONDS)
    connection.execute(f"DROP TABLE {table(number)}")
    connection.execute("DELETE FROM vae_collections WHERE number = %s", (number,))
    return collection


def vector(values: Floats) -> str:
    """Return a vector as text for PostgreSQL: float32 in shortest form, which loses nothing."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY).decode()


def received(payloads: Sequence[bytes], dim: int) -> Floats:
    """Return vectors from the binary form of pgvector: four bytes with sizes, then float32, big endian."""
    return np.frombuffer(b"".join(payload[4:] for payload in payloads), ">f4").reshape(len(payloads), dim).astype(np.float32)


def as_items(rows: Sequence[tuple[Any, ...]], dim: int, with_vectors: bool = True) -> Items:
    """Make a block from rows of the columns ITEM."""
    both = received([row[3] for row in rows], 2 * dim) if with_vectors else np.empty((len(rows), 0), np.float32)
    mu, sigma = np.ascontiguousarray(both[:, :dim]), np.ascontiguousarray(both[:, dim:])
    has_sigma = np.array([row[4] for row in rows], np.bool_)
    ids, seqs, metadata = [row[0] for row in rows], [row[1] for row in rows], [row[2].encode() for row in rows]
    return Items(ids, mu, sigma, has_sigma, metadata, seqs=seqs)


def get(connection: PgConnection, name: str, ids: Sequence[str]) -> Items:
    """Return the items with these ids, in the order of the ids. Unknown ids are left out."""
    number, collection = find(connection, name)
    rows = connection.execute(f"SELECT {ITEM} FROM {table(number)} WHERE id = ANY(%s)", (list(ids),))  # noqa: S608
    found = {row[0]: row for row in rows}
    return as_items([found[id] for id in ids if id in found], collection.dim)


def scan(connection: PgConnection, name: str, after: str, limit: int, filter: tuple[Condition, ...], strict: bool) -> Items:
    """Return up to `limit` matching items after the id `after`, sorted by id. Raises UnknownKey."""
    number, collection = find(connection, name)
    unknown = unknown_keys(connection, number, collection, filter, strict)
    where, parameters = pgvector_where(filter)
    rows = connection.execute(
        f"SELECT {ITEM} FROM {table(number)} WHERE id > %s{where} ORDER BY id LIMIT %s",  # noqa: S608
        (after, *parameters, limit),
    )
    return replace(as_items(rows.fetchall(), collection.dim), unknown=unknown)


def picture(connection: PgConnection, name: str, id: str) -> bytes:
    """Return the original of an item. Raises UnknownCollection, UnknownItem, NoPicture."""
    number, _ = find(connection, name)
    row = connection.execute(
        "SELECT (SELECT data FROM vae_pictures p WHERE p.collection = %s AND p.id = i.id) "  # noqa: S608
        f"FROM {table(number)} i WHERE i.id = %s",
        (number, id),
    ).fetchone()
    if row is None:
        raise UnknownItem(name, id)
    if row[0] is None:
        raise NoPicture(name, id)
    return bytes(row[0])
