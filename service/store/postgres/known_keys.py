"""Which keys of a filter no item of a collection in PostgreSQL has. Knows nothing of searches."""

from service.store.filters import Condition, Unknown, find_unknown, names_of
from service.store.interface import Collection
from service.store.postgres.filters import pgvector_where
from service.store.postgres.schema import PgConnection, table


def unknown_keys(
    connection: PgConnection, number: int, collection: Collection, filter: tuple[Condition, ...], strict: bool = False
) -> tuple[Unknown, ...]:
    """Return the keys of a filter that no item has. Raises UnknownKey if `strict`, unless the collection is empty.

    Top-level keys are recorded when items are added. A path is looked for in the items.
    """

    def has(condition: Condition) -> bool:
        where, parameters = pgvector_where((condition,))
        some = f"SELECT 1 FROM {table(number)} WHERE true{where} LIMIT 1"  # noqa: S608
        return connection.execute(some, parameters).fetchone() is not None

    def likely(key: str, most: int) -> list[str]:
        nearest = "SELECT key FROM vae_keys WHERE collection = %s ORDER BY abs(length(key) - %s), key LIMIT %s"
        return [one for (one,) in connection.execute(nearest, (number, len(key), most))]

    if not filter:
        return ()
    some = "SELECT key FROM vae_keys WHERE collection = %s AND key = ANY(%s)"
    known = {key for (key,) in connection.execute(some, (number, names_of(filter)))}
    unknown = find_unknown(filter, known, has, likely)
    if unknown and strict and collection.count:
        raise unknown[0].refusal()
    return unknown
