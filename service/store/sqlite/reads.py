"""Reads of the sqlite file: functions that take a connection inside a transaction. Knows nothing of threads."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from service.store.filters import Condition
from service.store.interface import Collection, Items, NoPicture, StoreUnusable, UnknownItem
from service.store.sqlite.filters import sqlite_where
from service.store.sqlite.known_keys import unknown_keys
from service.store.sqlite.writes import COLUMNS, find, span
from service.store.vectors.chunk import Floats, Mask, Numbers

# Rows that are loaded at a time.
LOADED = 1 << 15
Rows = Iterable[tuple[Any, ...]]


def collections(connection: sqlite3.Connection) -> list[Collection]:
    """Return all collections, sorted by name."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM collections ORDER BY name")  # noqa: S608
    return [Collection(*row) for row in rows]


def _stacked(blobs: Sequence[bytes], dim: int) -> Floats:
    """Return stored vectors as an array (N, D). Raises StoreUnusable."""
    joined = b"".join(blobs)
    if len(joined) != 4 * dim * len(blobs):
        raise StoreUnusable(f"a stored vector does not have {dim} dimensions: the file is corrupt; restore a backup")
    return np.frombuffer(joined, "<f4").reshape(len(blobs), dim).astype(np.float32, copy=False)


def _sigmas(blobs: Sequence[bytes | None], dim: int) -> tuple[Floats, Mask]:
    zero = bytes(4 * dim)
    return _stacked([zero if blob is None else blob for blob in blobs], dim), np.array(
        [b is not None for b in blobs], np.bool_
    )


def as_items(rows: Rows, dim: int, with_vectors: bool = True) -> Items:
    """Make a block from rows (id, seq, metadata, mu, sigma)."""
    if not with_vectors:
        rows, dim = [(*row[:3], b"", None if row[4] is None else b"") for row in rows], 0
    ids, seqs, metadata, mu, sigma = map(list, zip(*rows, strict=True)) if (rows := list(rows)) else ([], [], [], [], [])
    return Items(ids, _stacked(mu, dim), *_sigmas(sigma, dim), [text.encode() for text in metadata], seqs=seqs)


def get(connection: sqlite3.Connection, name: str, ids: Sequence[str]) -> Items:
    """Return the items with these ids, in the order of the ids. Unknown ids are left out."""
    number, collection = find(connection, name)
    rows = connection.execute(
        "SELECT id, seq, metadata, mu, sigma FROM items "
        "WHERE collection = ? AND mu IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
        (number, orjson.dumps(list(ids)).decode()),
    )
    found = {row[0]: row for row in rows}
    return as_items([found[id] for id in ids if id in found], collection.dim)


def scan(
    connection: sqlite3.Connection, name: str, after: str, limit: int, filter: tuple[Condition, ...], strict: bool
) -> Items:
    """Return up to `limit` matching items after the id `after`, sorted by id. Raises UnknownKey."""
    number, collection = find(connection, name)
    unknown = unknown_keys(connection, number, collection, filter, strict)
    where, parameters = sqlite_where(filter)
    rows = connection.execute(
        "SELECT id, seq, metadata, mu, sigma FROM items "  # noqa: S608
        f"WHERE collection = ? AND id > ? AND mu IS NOT NULL{where} ORDER BY id LIMIT ?",
        (number, after, *parameters, limit),
    )
    return replace(as_items(rows, collection.dim), unknown=unknown)


def numbers_after(
    connection: sqlite3.Connection, number: int, after: str, limit: int, filter: tuple[Condition, ...]
) -> dict[str, int]:
    """Return the numbers of what `scan` finds, by id."""
    where, parameters = sqlite_where(filter)
    rows = connection.execute(
        "SELECT id, number FROM items "  # noqa: S608
        f"WHERE collection = ? AND id > ? AND mu IS NOT NULL{where} ORDER BY id LIMIT ?",
        (number, after, *parameters, limit),
    )
    return dict(rows.fetchall())


def picture(connection: sqlite3.Connection, name: str, id: str) -> bytes:
    """Return the original of an item. Raises UnknownCollection, UnknownItem, NoPicture."""
    number, _ = find(connection, name)
    row = connection.execute(
        "SELECT (SELECT data FROM pictures WHERE pictures.number = items.number) FROM items "
        "WHERE collection = ? AND id = ? AND mu IS NOT NULL",
        (number, id),
    ).fetchone()
    if row is None:
        raise UnknownItem(name, id)
    if row[0] is None:
        raise NoPicture(name, id)
    return bytes(row[0])


def matching(connection: sqlite3.Connection, number: int, filter: tuple[Condition, ...]) -> Numbers:
    """Return the numbers of the items that match, ascending."""
    where, parameters = sqlite_where(filter)
    rows = connection.execute(
        f"SELECT number FROM items WHERE number >= ? AND number < ? AND mu IS NOT NULL{where} ORDER BY number",  # noqa: S608
        (*span(number), *parameters),
    )
    return np.fromiter((row[0] for row in rows), np.int64)


def forgotten(connection: sqlite3.Connection, number: int) -> int:
    """Return the sequence number up to which the traces of deletions were removed."""
    (seq,) = connection.execute("SELECT forgotten FROM collections WHERE number = ?", (number,)).fetchone()
    return int(seq)


@dataclass(slots=True)
class Vectors:
    """Gaussians with their numbers, and the numbers of deleted items; both ascending."""

    numbers: Numbers
    mu: Floats
    sigma: Floats
    has_sigma: Mask
    gone: Numbers


def all_vectors(connection: sqlite3.Connection, number: int, dim: int) -> Iterator[Vectors]:
    """Yield all Gaussians of a collection in the order of their numbers, LOADED at a time."""
    cursor = connection.execute(
        "SELECT number, mu, sigma FROM items WHERE number >= ? AND number < ? AND mu IS NOT NULL ORDER BY number", span(number)
    )
    while rows := cursor.fetchmany(LOADED):
        yield _vectors(rows, dim)


def changed_vectors(connection: sqlite3.Connection, number: int, dim: int, since: int) -> Vectors:
    """Return what changed after a sequence number, in its present state."""
    rows = connection.execute(
        "SELECT number, mu, sigma FROM items WHERE collection = ? AND seq > ?", (number, since)
    ).fetchall()
    rows.sort()
    vectors = _vectors([row for row in rows if row[1] is not None], dim)
    vectors.gone = np.array([row[0] for row in rows if row[1] is None], np.int64)
    return vectors


def _vectors(rows: Sequence[tuple[Any, ...]], dim: int) -> Vectors:
    numbers = np.array([row[0] for row in rows], np.int64)
    sigma, has_sigma = _sigmas([row[2] for row in rows], dim)
    return Vectors(numbers, _stacked([row[1] for row in rows], dim), sigma, has_sigma, np.empty(0, np.int64))


def by_number(connection: sqlite3.Connection, numbers: Sequence[int], with_vectors: bool) -> dict[int, tuple[Any, ...]]:
    """Return rows (id, seq, metadata, mu, sigma) by number. Unless asked for, mu is None, and a sigma is empty."""
    both = "mu, sigma" if with_vectors else "NULL, iif(sigma IS NULL, NULL, x'')"
    rows = connection.execute(
        f"SELECT number, id, seq, metadata, {both} FROM items WHERE number IN (SELECT value FROM json_each(?))",  # noqa: S608
        (orjson.dumps(list(numbers)).decode(),),
    )
    return {row[0]: row[1:] for row in rows}
