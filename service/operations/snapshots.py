"""Snapshots of collections for work on all their vectors at once, within a bound on memory. Knows nothing of HTTP.

A snapshot is one state of a collection. It is read again only after the collection has changed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from service.inference.deadline import in_time
from service.store.filters import Condition
from service.store.interface import LatentStore
from service.store.snapshot import Snapshot, Wanted

# The most memory of one snapshot, and that of all which are kept for later requests, per process. A million items of 20
# dimensions take about 250 MiB.
MAX_BYTES = 256 << 20
# The most snapshots that are kept, since results are kept with each.
MOST_KEPT = 16
# Requests that work with snapshots at the same time; others wait. So snapshots take at most (2 * 4 + 1) * 256 MiB, and a
# request needs two of them only where it compares.
MOST_AT_ONCE = 4

LATE = "the deadline passed before the collection was read"

Filter = tuple[Condition, ...]


class Snapshots:
    """Lends snapshots, and keeps those used last."""

    def __init__(self, store: LatentStore, max_bytes: int = MAX_BYTES) -> None:
        self._store, self._max_bytes = store, max_bytes
        self._kept: OrderedDict[tuple[str, Wanted], Snapshot] = OrderedDict()
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    @asynccontextmanager
    async def lent(
        self,
        name: str,
        filters: Sequence[Filter] = ((),),
        deadline: float | None = None,
        strict: bool = False,
        with_metadata: bool = False,
    ) -> AsyncIterator[list[Snapshot]]:
        """Lend the snapshots of what the filters find, all in the same state; work with them inside the block.

        `strict`: a key of a filter that no item has is an error. `with_metadata`: of what the first filter finds. Raises
        UnknownCollection, UnknownKey, SnapshotTooLarge, DeadlineExceeded.
        """
        wanted = [Wanted(filter, with_metadata and not i) for i, filter in enumerate(filters)]
        async with self.lent_of(name, wanted, deadline, strict) as found:
            yield found

    @asynccontextmanager
    async def lent_of(
        self, name: str, wanted: Sequence[Wanted], deadline: float | None = None, strict: bool = False
    ) -> AsyncIterator[list[Snapshot]]:
        """Lend snapshots as `lent` does, also of items that are found by ids; these are not kept for later requests."""
        await in_time(self._turns.acquire(), deadline, LATE)
        try:
            found = await in_time(self._read(name, wanted), deadline, LATE)
            for one in found:
                if strict and one.unknown and one.collection.count:
                    raise one.unknown[0].refusal()
            yield found
        finally:
            self._turns.release()

    async def _read(self, name: str, wanted: Sequence[Wanted]) -> list[Snapshot]:
        known = [self._kept.get((name, one)) for one in wanted]
        found = await self._store.snapshots(name, wanted, known, self._max_bytes)
        for one in found:
            if one.wanted.ids is None:
                self._kept[name, one.wanted] = one
                self._kept.move_to_end((name, one.wanted))
        while len(self._kept) > MOST_KEPT or sum(one.nbytes for one in self._kept.values()) > self._max_bytes:
            self._kept.popitem(last=False)
        return found
