"""Latents that outlive a request: one interface, and a backend behind each kind of address.

Knows nothing of HTTP or of models.
"""

from pathlib import Path

from service.store.interface import LatentStore as LatentStore
from service.store.sqlite.store import SqliteStore

POSTGRES = ("postgresql://", "postgres://")


def make_store(address: str, max_bytes: int) -> LatentStore:
    """The store behind an address, a path of a sqlite file or a PostgreSQL URL; not opened. Raises StoreUnusable.

    `max_bytes`: bound on the memory for vectors, which the database of PostgreSQL has no need of.
    """
    if address.startswith(POSTGRES):
        from service.store.postgres.store import PgvectorStore  # an extra

        return PgvectorStore(address)
    return SqliteStore(Path(address), max_bytes)
