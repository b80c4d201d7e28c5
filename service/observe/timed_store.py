"""A latent store whose operations are timed. Knows nothing of how anything is stored."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from service.observe.histogram import Histogram
from service.store import LatentStore
from service.store.filters import Condition
from service.store.forwarding import ForwardingStore
from service.store.interface import Deleted, Found, IfExists, Items, Patched, Search, Upserted


class TimedStore(ForwardingStore):
    """A store that passes every call on to another one, and measures how long upsert, patch, get, delete and search take."""

    def __init__(self, store: LatentStore, seconds: Mapping[str, Histogram]) -> None:
        """`seconds`: a histogram for each of the five operations, which also counts those that fail."""
        super().__init__(store)
        self._seconds = seconds

    async def upsert(self, name: str, digest: str, items: Items, if_exists: IfExists = "replace") -> Upserted:
        with self._timed("upsert"):
            return await super().upsert(name, digest, items, if_exists)

    async def patch(self, name: str, id: str, patch: dict[str, Any]) -> Patched:
        with self._timed("patch"):
            return await super().patch(name, id, patch)

    async def delete_ids(self, name: str, ids: Sequence[str]) -> Deleted:
        with self._timed("delete"):
            return await super().delete_ids(name, ids)

    async def delete_matching(
        self, name: str, filter: tuple[Condition, ...], after: str = "", limit: int = 100, strict: bool = False
    ) -> Deleted:
        with self._timed("delete"):
            return await super().delete_matching(name, filter, after, limit, strict)

    async def get(self, name: str, ids: Sequence[str]) -> Items:
        with self._timed("get"):
            return await super().get(name, ids)

    async def picture(self, name: str, id: str) -> bytes:
        with self._timed("get"):
            return await super().picture(name, id)

    async def search(self, name: str, digest: str, search: Search) -> Found:
        with self._timed("search"):
            return await super().search(name, digest, search)

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[operation].observe(time.monotonic() - started)
