"""Deletions in the sqlite file: functions that take a connection inside a transaction. Knows nothing of threads."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace

import orjson

from service.store.filters import Condition, check_deletion
from service.store.interface import Collection, Deleted
from service.store.sqlite.known_keys import unknown_keys
from service.store.sqlite.pictures import remove_pictures
from service.store.sqlite.reads import numbers_after
from service.store.sqlite.writes import find, span

# Traces of deleted items that a collection keeps; more if it has more items.
MAX_TRACES = 10_000


def delete_ids(connection: sqlite3.Connection, name: str, ids: Sequence[str]) -> Deleted:
    """Delete those of these items that exist. Raises UnknownCollection."""
    number, collection = find(connection, name)
    rows = connection.execute(
        "SELECT id, number FROM items WHERE collection = ? AND mu IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
        (number, orjson.dumps(list(ids)).decode()),
    )
    there = dict(rows.fetchall())
    return _delete_rows(connection, number, collection, {id: there[id] for id in ids if id in there})


def delete_matching(
    connection: sqlite3.Connection, name: str, filter: tuple[Condition, ...], after: str, limit: int, strict: bool
) -> Deleted:
    """Delete up to `limit` matching items after the id `after`, in the order of their ids. Raises UnknownKey."""
    number, collection = find(connection, name)
    unknown = () if after else unknown_keys(connection, number, collection, filter, strict)
    if collection.count:
        check_deletion(filter, unknown)
    rows = numbers_after(connection, number, after, limit, filter)
    return replace(_delete_rows(connection, number, collection, rows), unknown=unknown)


def _delete_rows(connection: sqlite3.Connection, number: int, collection: Collection, rows: Mapping[str, int]) -> Deleted:
    """Delete items, given their numbers by id, but keep their traces, by which indexes in memory learn of it."""
    if not rows:
        return Deleted(collection.seq, [])
    connection.executemany(
        "UPDATE items SET seq = ?, mu = NULL, sigma = NULL, metadata = NULL WHERE number = ?",
        ((collection.seq + 1 + i, one) for i, one in enumerate(rows.values())),
    )
    remove_pictures(connection, number, rows.values())
    (traces,) = connection.execute(
        "UPDATE collections SET seq = seq + ?1, count = count - ?1, traces = traces + ?1 WHERE number = ?2 RETURNING traces",
        (len(rows), number),
    ).fetchone()
    if traces > max(MAX_TRACES, collection.count):
        connection.execute("DELETE FROM items WHERE number >= ? AND number < ? AND mu IS NULL", span(number))
        connection.execute("UPDATE collections SET traces = 0, forgotten = seq WHERE number = ?", (number,))
    return Deleted(collection.seq + len(rows), list(rows))
