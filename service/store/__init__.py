"""The latent store: one interface with two backends, sqlite and PostgreSQL, chosen by the address.

Knows nothing of HTTP or of models.
"""

import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from service.store.interface import MAX_PICTURE_BYTES
from service.store.interface import LatentStore as LatentStore
from service.store.sqlite.memory import MemoryFile
from service.store.sqlite.store import SqliteStore

POSTGRES = ("postgresql://", "postgres://")


def make_store(
    address: str,
    max_bytes: int,
    max_picture_bytes: int = MAX_PICTURE_BYTES,
    reads: str = "",
    counts: Counter[str] | None = None,
) -> LatentStore:
    """Return the store at an address, the path of a sqlite file or a PostgreSQL URL. It is not opened. Raises StoreUnusable.

    `max_bytes` bounds the memory for vectors of a sqlite store. PostgreSQL keeps its vectors in the database.
    `max_picture_bytes` bounds the bytes of all kept pictures. `reads`: the address of a streaming replica of the database,
    from which items are read; `counts` gets the number of those reads by who answered.
    """
    if address.startswith(POSTGRES) and reads:
        from service.store.postgres.replica import ReplicatedStore

        return ReplicatedStore(address, reads, max_picture_bytes=max_picture_bytes, counts=counts)
    if address.startswith(POSTGRES):
        from service.store.postgres.store import PgvectorStore  # an extra

        return PgvectorStore(address, max_picture_bytes=max_picture_bytes)
    return SqliteStore(Path(address), max_bytes, max_picture_bytes)


@asynccontextmanager
async def opened_store(address: str, max_bytes: int) -> AsyncIterator[LatentStore]:
    """Open the store at an address, and close it afterwards; see `make_store`. Raises StoreError."""
    store = make_store(address, max_bytes)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def memory_store() -> LatentStore:
    """Return an empty store in the memory of this process, which needs no opening. Its callers bound what they put into it."""
    return SqliteStore(MemoryFile(), sys.maxsize)
