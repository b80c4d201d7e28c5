"""Changes of items in PostgreSQL: functions that take a connection inside a transaction. Knows nothing of pools or retries."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg

from service.store.filters import Condition, check_deletion
from service.store.interface import BadItem, Deleted, IfExists, Items, Patched, PicturesFull, UnknownItem, Upserted
from service.store.metadata import patched
from service.store.postgres.filters import fields_of, pgvector_where
from service.store.postgres.graph import HALF_MOST
from service.store.postgres.known_keys import unknown_keys
from service.store.postgres.schema import PgConnection, table
from service.store.postgres.work import STATEMENT_SECONDS, find, vector
from service.store.upserts import keys_of, originals, upserted, wanted_of


def upsert(
    connection: PgConnection, name: str, digest: str, items: Items, if_exists: IfExists, max_picture_bytes: int
) -> Upserted:
    """Add or replace items. Raises UnknownCollection, ModelMismatch, ItemsExist, PicturesFull."""
    number, collection = find(connection, name, digest, STATEMENT_SECONDS)
    rows = connection.execute(f"SELECT id FROM {table(number)} WHERE id = ANY(%s)", (items.ids,))  # noqa: S608
    there = {id for (id,) in rows}
    wanted = wanted_of(name, items, there, if_exists)
    both = np.concatenate([items.mu, items.sigma], axis=1)
    with _indexable(), connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table(number)} AS old (id, seq, mu, both_, has_sigma, metadata, fields) "  # noqa: S608
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, mu = excluded.mu, "
            "both_ = excluded.both_, has_sigma = excluded.has_sigma, "
            "metadata = CASE WHEN %s THEN old.metadata ELSE excluded.metadata END, "
            "fields = CASE WHEN %s THEN old.fields ELSE excluded.fields END",
            [
                (
                    items.ids[i],
                    collection.seq + 1 + place,
                    vector(items.mu[i]),
                    vector(both[i]),
                    bool(items.has_sigma[i]),
                    items.metadata[i].decode(),
                    fields_of(items.metadata[i]),
                    i in items.unstated,
                    i in items.unstated,
                )
                for place, i in enumerate(wanted)
            ],
        )
    _add_keys(connection, number, keys_of(items, wanted))
    result = upserted(items, wanted, there, collection.seq + len(wanted))
    connection.execute(
        "UPDATE vae_collections SET seq = %s, count = count + %s, change = gen_random_uuid() WHERE number = %s",
        (result.seq, len(result.added), number),
    )
    _remove_pictures(connection, number, result.replaced)
    _add_pictures(connection, number, originals(collection, items, wanted), max_picture_bytes)
    return result


@contextmanager
def _indexable() -> Iterator[None]:
    """Raise BadItem for numbers that the 16-bit index of the collection cannot have."""
    try:
        yield
    except psycopg.errors.NumericValueOutOfRange as error:
        raise BadItem(
            f"mu and the weighted sigma must be at most {HALF_MOST:g} here, since the index of the collection has 16-bit "
            "numbers; nothing was stored; `python -m service.store index --numbers float32` allows larger ones"
        ) from error


def _add_keys(connection: PgConnection, number: int, keys: Iterable[str]) -> None:
    connection.execute("INSERT INTO vae_keys SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING", (number, sorted(keys)))


def _add_pictures(connection: PgConnection, number: int, pictures: dict[str, bytes], max_bytes: int) -> None:
    """Keep originals. Other collections that change at the same moment are not counted. Raises PicturesFull."""
    added = sum(map(len, pictures.values()))
    if not added:
        return
    [(stored,)] = connection.execute("SELECT sum(picture_bytes)::bigint FROM vae_collections")
    if stored + added > max_bytes:
        raise PicturesFull(stored + added, max_bytes)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO vae_pictures VALUES (%s, %s, %s)", [(number, id, data) for id, data in pictures.items()]
        )
    connection.execute("UPDATE vae_collections SET picture_bytes = picture_bytes + %s WHERE number = %s", (added, number))


def _remove_pictures(connection: PgConnection, number: int, ids: Sequence[str]) -> None:
    connection.execute(
        "WITH gone AS (DELETE FROM vae_pictures WHERE collection = %s AND id = ANY(%s) RETURNING length(data) AS size) "
        "UPDATE vae_collections SET picture_bytes = picture_bytes - (SELECT sum(size) FROM gone) "
        "WHERE number = %s AND EXISTS (SELECT FROM gone)",
        (number, list(ids), number),
    )


def patch(connection: PgConnection, name: str, id: str, patch: dict[str, Any]) -> Patched:
    """Change the metadata of an item by a merge patch. Raises UnknownCollection, UnknownItem, BadItem, MetadataTooLarge."""
    number, collection = find(connection, name, lock_for=STATEMENT_SECONDS)
    row = connection.execute(f"SELECT metadata FROM {table(number)} WHERE id = %s", (id,)).fetchone()  # noqa: S608
    if row is None:
        raise UnknownItem(name, id)
    metadata, keys = patched(row[0].encode(), patch, id)
    connection.execute(
        f"UPDATE {table(number)} SET seq = %s, metadata = %s, fields = %s WHERE id = %s",  # noqa: S608
        (collection.seq + 1, metadata.decode(), fields_of(metadata), id),
    )
    connection.execute("UPDATE vae_collections SET seq = seq + 1, change = gen_random_uuid() WHERE number = %s", (number,))
    _add_keys(connection, number, keys)
    return Patched(collection.seq + 1, metadata)


def delete_ids(connection: PgConnection, name: str, ids: Sequence[str]) -> Deleted:
    """Delete those of these items that exist. Raises UnknownCollection."""
    number, collection = find(connection, name, lock_for=STATEMENT_SECONDS)
    rows = connection.execute(f"DELETE FROM {table(number)} WHERE id = ANY(%s) RETURNING id", (list(ids),))  # noqa: S608
    there = {id for (id,) in rows}
    return _deleted(connection, number, collection.seq, [id for id in dict.fromkeys(ids) if id in there])


def delete_matching(
    connection: PgConnection, name: str, filter: tuple[Condition, ...], after: str, limit: int, strict: bool
) -> Deleted:
    """Delete up to `limit` matching items after the id `after`, in the order of their ids. Raises UnknownKey."""
    number, collection = find(connection, name, lock_for=STATEMENT_SECONDS)
    unknown = () if after else unknown_keys(connection, number, collection, filter, strict)
    if collection.count:
        check_deletion(filter, unknown)
    where, parameters = pgvector_where(filter)
    rows = connection.execute(
        f"WITH found AS (SELECT id FROM {table(number)} WHERE id > %s{where} ORDER BY id LIMIT %s) "  # noqa: S608
        f"DELETE FROM {table(number)} WHERE id IN (SELECT id FROM found) RETURNING id",
        (after, *parameters, limit),
    )
    deleted = _deleted(connection, number, collection.seq, sorted((id for (id,) in rows), key=str.encode))
    return replace(deleted, unknown=unknown)


def _deleted(connection: PgConnection, number: int, seq: int, ids: list[str]) -> Deleted:
    """Count what was deleted, and delete the originals."""
    if ids:
        connection.execute(
            "UPDATE vae_collections SET seq = seq + %s, count = count - %s, change = gen_random_uuid() WHERE number = %s",
            (len(ids), len(ids), number),
        )
        _remove_pictures(connection, number, ids)
    return Deleted(seq + len(ids), ids)
