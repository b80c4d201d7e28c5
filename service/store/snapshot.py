"""One state of a collection: the vectors of all its items, or of those that match a filter or have these ids, sorted by id.

Knows nothing of how items are stored, nor of what is computed from their vectors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.store.errors import SnapshotTooLarge
from service.store.filters import Condition, Unknown

if TYPE_CHECKING:
    from service.store.interface import Collection, Items

Floats = NDArray[np.float32]

# Rows that are read at a time.
PAGE = 1 << 14
# The memory of an id or of the metadata of an item beside its characters: a Python object, and its place in a list.
OBJECT_BYTES = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a snapshot has: items that match the filter, or those of these ids; and their metadata if it is asked for."""

    filter: tuple[Condition, ...] = ()
    with_metadata: bool = False
    ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """N items of a collection in one state; row i belongs to ids[i]. An item without a sigma has zeros in sigma."""

    collection: "Collection"
    number: int  # tells a collection from an earlier one of the same name, which was dropped
    wanted: Wanted
    ids: list[str]  # ascending, by code points
    mu: Floats  # (N, D)
    sigma: Floats  # (N, D)
    has_sigma: NDArray[np.bool_]  # (N,)
    metadata: list[bytes]  # a JSON object each; empty unless it was asked for
    unknown: tuple[Unknown, ...]  # keys of the filter that no item has
    nbytes: int  # the memory that it takes, about
    results: dict[Any, Any] = field(default_factory=dict)  # what was computed from it and may be of use again

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def seq(self) -> int:
        """The sequence number of the state."""
        return self.collection.seq

    def is_of(self, number: int, collection: "Collection", wanted: Wanted) -> bool:
        """Return whether this is what a reader of that state of the collection would get."""
        own = self.collection
        return (self.number, own.seq, own.change, self.wanted) == (number, collection.seq, collection.change, wanted)


def snapshot_of(
    collection: "Collection", number: int, wanted: Wanted, pages: "Iterable[Items]", unknown: Sequence[Unknown], max_bytes: int
) -> Snapshot:
    """Put the pages of one state together. Raises SnapshotTooLarge as soon as they take more than `max_bytes`."""
    ids, metadata, parts, nbytes = list[str](), list[bytes](), list["Items"](), 0
    for page in pages:
        nbytes += page.mu.nbytes + page.sigma.nbytes + len(page) * (1 + OBJECT_BYTES) + sum(map(len, page.ids))
        if wanted.with_metadata:
            nbytes += sum(map(len, page.metadata)) + len(page) * OBJECT_BYTES
            metadata += page.metadata
        if nbytes > max_bytes:
            raise SnapshotTooLarge(collection.name, len(ids) + len(page), max_bytes, wanted.with_metadata)
        ids += page.ids
        parts.append(page)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    nothing = np.empty((0, collection.dim), np.float32)
    mu, sigma = (np.concatenate([nothing, *(getattr(part, name) for part in parts)])[order] for name in ("mu", "sigma"))
    has_sigma = np.concatenate([np.empty(0, np.bool_), *(part.has_sigma for part in parts)])[order]
    return Snapshot(
        collection,
        number,
        wanted,
        [ids[i] for i in order],
        mu,
        sigma,
        has_sigma,
        [metadata[i] for i in order] if metadata else [],
        tuple(unknown),
        nbytes,
    )
