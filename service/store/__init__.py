"""The latent store: one interface with two backends, sqlite and PostgreSQL, chosen by the address.

Knows nothing of HTTP or of models.
"""

from pathlib import Path

from service.store.interface import LatentStore as LatentStore
from service.store.sqlite.store import SqliteStore

POSTGRES = ("postgresql://", "postgres://")


def make_store(address: str, max_bytes: int) -> LatentStore:
    """Return the store at an address, the path of a sqlite file or a PostgreSQL URL. It is not opened. Raises StoreUnusable.

    `max_bytes` bounds the memory for vectors of a sqlite store. PostgreSQL keeps its vectors in the database.
    """
    if address.startswith(POSTGRES):
        from service.store.postgres.store import PgvectorStore  # an extra

        return PgvectorStore(address)
    return SqliteStore(Path(address), max_bytes)
