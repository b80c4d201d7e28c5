"""Which keys of a filter no item of a collection in the sqlite file has. Knows nothing of searches."""

import sqlite3

import orjson

from service.store.filters import Condition, Unknown, find_unknown, names_of
from service.store.interface import Collection
from service.store.sqlite.file import ITEMS_PER_COLLECTION
from service.store.sqlite.filters import sqlite_where


def unknown_keys(
    connection: sqlite3.Connection, number: int, collection: Collection, filter: tuple[Condition, ...], strict: bool = False
) -> tuple[Unknown, ...]:
    """Return the keys of a filter that no item has. Raises UnknownKey if `strict`, unless the collection is empty.

    Top-level keys are recorded when items are added. A path is looked for in the items.
    """

    def has(condition: Condition) -> bool:
        where, parameters = sqlite_where((condition,))
        first = number * ITEMS_PER_COLLECTION
        some = f"SELECT 1 FROM items WHERE number >= ? AND number < ? AND mu IS NOT NULL{where} LIMIT 1"  # noqa: S608
        return connection.execute(some, (first, first + ITEMS_PER_COLLECTION, *parameters)).fetchone() is not None

    def likely(key: str, most: int) -> list[str]:
        nearest = "SELECT key FROM keys WHERE collection = ? ORDER BY abs(length(key) - ?), key LIMIT ?"
        return [one for (one,) in connection.execute(nearest, (number, len(key), most))]

    if not filter:
        return ()
    some = "SELECT key FROM keys WHERE collection = ? AND key IN (SELECT value FROM json_each(?))"
    known = {key for (key,) in connection.execute(some, (number, orjson.dumps(names_of(filter)).decode()))}
    unknown = find_unknown(filter, known, has, likely)
    if unknown and strict and collection.count:
        raise unknown[0].refusal()
    return unknown
