"""The interface of a latent store: durable collections of Gaussians, which are found by id or by nearest-neighbour search.

Knows nothing of HTTP, of models, nor of how anything is stored.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.latents.distances import DistanceMetric, Doubles, distance_metric
from service.store.directions import Direction
from service.store.errors import BadItem as BadItem
from service.store.errors import BadName as BadName
from service.store.errors import CollectionReplaced as CollectionReplaced
from service.store.errors import DirectionsFull as DirectionsFull
from service.store.errors import DiskFull as DiskFull
from service.store.errors import ItemsExist as ItemsExist
from service.store.errors import MetadataTooLarge as MetadataTooLarge
from service.store.errors import ModelMismatch as ModelMismatch
from service.store.errors import NoPicture as NoPicture
from service.store.errors import PicturesFull as PicturesFull
from service.store.errors import ReadOnly as ReadOnly
from service.store.errors import SnapshotTooLarge as SnapshotTooLarge
from service.store.errors import StoreBusy as StoreBusy
from service.store.errors import StoreError as StoreError
from service.store.errors import StoreFull as StoreFull
from service.store.errors import StoreUnavailable as StoreUnavailable
from service.store.errors import StoreUnusable as StoreUnusable
from service.store.errors import UnknownCollection as UnknownCollection
from service.store.errors import UnknownDirection as UnknownDirection
from service.store.errors import UnknownItem as UnknownItem
from service.store.filters import Condition, Unknown
from service.store.names import TRAINING_PREFIX
from service.store.snapshot import Snapshot, Wanted

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

# What happens to items whose ids exist: they replace the old ones, or all items are refused, or these are left out.
IfExists = Literal["replace", "error", "skip"]

# Most bytes of kept pictures in all collections, unless a setting says otherwise.
MAX_PICTURE_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of items that one model has encoded."""

    name: str
    model: str
    digest: str
    dim: int
    metric: str = "l2"
    description: str = ""
    count: int = 0
    seq: int = 0  # sequence number of its last change
    keep: str | None = None  # "picture": originals of new items are kept; "nothing" or None: they are not
    sigma_weight: float = 1.0  # the weight of sigma in w2; other metrics have none
    number: int | None = field(default=None, compare=False)  # tells it from others that had its name, if stored
    change: str | None = field(default=None, compare=False)  # a random token of its last change, if several servers have it

    @property
    def label(self) -> str:
        """Name and digest of its model, in the form of the header X-Model."""
        return f"{self.model}@sha256:{self.digest}"

    @property
    def read_only(self) -> bool:
        """Whether it has the training latents of a model, so that no request can change it."""
        return self.name.startswith(TRAINING_PREFIX)

    def to_change(self) -> "Collection":
        """Return this collection. Raises ReadOnly."""
        if self.read_only:
            raise ReadOnly(self.name)
        return self

    def of_model(self, digest: str | None) -> "Collection":
        """Return this collection if its model has the digest, or any for None. Raises ModelMismatch."""
        if digest not in (None, self.digest):
            raise ModelMismatch(self, f"sha256:{digest}")
        return self

    def of_number(self, number: int | None) -> "Collection":
        """Return this collection if it has the number, or any for None. Raises CollectionReplaced."""
        if number not in (None, self.number):
            raise CollectionReplaced(self.name)
        return self


@dataclass(slots=True)
class Items:
    """A block of N items; row i belongs to ids[i]. An item without a sigma has has_sigma false and zeros in sigma."""

    ids: list[str]
    mu: Floats  # (N, D)
    sigma: Floats  # (N, D)
    has_sigma: Mask  # (N,)
    metadata: list[bytes]  # a JSON object each
    keys: frozenset[str] = frozenset()  # top-level keys of all metadata
    seqs: list[int] = field(default_factory=list)  # of the last change of each item, if read from a store
    unknown: tuple[Unknown, ...] = ()  # keys of the filter that no item has, if found by one
    unstated: frozenset[int] = frozenset()  # these items leave the metadata of the items that they replace as it is
    pictures: Sequence[bytes | None] = ()  # originals, which a collection with keep="picture" keeps; empty: there are none

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Query:
    """A query: a Gaussian, mu and sigma (D,), or the id of a stored item."""

    mu: Floats | None = None
    sigma: Floats | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """A search for the k nearest to each query, by a metric of `service.latents.distances`."""

    queries: Sequence[Query]
    k: int
    metric: str
    filter: tuple[Condition, ...] = ()
    candidates: int | None = None  # measure only this many nearest by w2, with the collection's sigma_weight
    exact: bool | None = None  # False allows an approximate index; None leaves it to the store
    with_vectors: bool = False
    strict: bool = False  # a key of the filter that no item has is an error
    exclude_self: bool = False  # the item of a query by id is not among its neighbors
    sigma_weight: float = 1.0  # the weight of sigma in w2; other metrics have none

    @property
    def distance(self) -> DistanceMetric:
        """The metric with its weight."""
        return distance_metric(self.metric, self.sigma_weight)


@dataclass(slots=True)
class Neighbors:
    """The neighbors of one query, nearest first, ties by id."""

    items: Items  # mu and sigma (N, 0) unless they were asked for
    distances: Doubles


@dataclass(slots=True)
class Found:
    """The result of a search. It includes all changes of the collection up to the sequence number `seq`."""

    neighbors: list[Neighbors]
    exact: bool
    seq: int
    unknown: tuple[Unknown, ...] = ()  # keys of the filter that no item has


@dataclass(frozen=True, slots=True)
class Upserted:
    """The result of adding items: ids in their order, and the sequence number of the collection."""

    seq: int
    added: list[str]
    replaced: list[str]
    skipped: list[str]


@dataclass(frozen=True, slots=True)
class Patched:
    """The metadata of an item after a change, as JSON, and the sequence number of the change."""

    seq: int
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Deleted:
    """The ids of deleted items, and the sequence number of the collection."""

    seq: int
    ids: list[str]
    unknown: tuple[Unknown, ...] = ()  # keys of the filter that no item had


class LatentStore(ABC):
    """Collections of Gaussians. Every change is durable when its method returns. All methods raise StoreError."""

    @abstractmethod
    async def open(self) -> None:
        """Open what is there and prepare it. Raises StoreUnusable."""

    def check(self) -> None:  # noqa: B027 - most stores can tell only by a request
        """Raise StoreUnusable if it is known that no request can succeed any more. Takes microseconds."""

    @abstractmethod
    async def close(self) -> None:
        """Close the store. Requests in flight are finished, or cancelled if they wait for a lock or a database."""

    @abstractmethod
    async def create(self, collection: Collection) -> Collection:
        """Make a collection. Of one with the same digest, set metric, weight, description, and `keep` unless None."""

    @abstractmethod
    async def collections(self) -> list[Collection]:
        """Return all collections, sorted by name."""

    @abstractmethod
    async def collection(self, name: str) -> Collection:
        """Return one collection. Raises UnknownCollection."""

    @abstractmethod
    async def drop(self, name: str) -> Collection:
        """Delete a collection with its items and directions, and return what it was. Raises UnknownCollection."""

    @abstractmethod
    async def put_direction(self, name: str, digest: str, direction: Direction, number: int | None = None) -> None:
        """Add a direction, or replace the one that has its name.

        `number`: that of the collection, if the direction was made from what had been read of it. Raises ModelMismatch,
        CollectionReplaced, DirectionsFull.
        """

    @abstractmethod
    async def directions(self, name: str, names: Sequence[str] | None = None, digest: str | None = None) -> list[Direction]:
        """Return all directions, sorted by name; or those with these names, in this order.

        `digest`: that of the model which the collection must have, if stated. Raises UnknownDirection, ModelMismatch.
        """

    @abstractmethod
    async def delete_direction(self, name: str, direction: str) -> Direction:
        """Delete a direction, and return what it was. Raises UnknownDirection."""

    @abstractmethod
    async def upsert(self, name: str, digest: str, items: Items, if_exists: IfExists = "replace") -> Upserted:
        """Add items, all or none; see IfExists for those with the ids of stored ones. Raises ItemsExist, PicturesFull."""

    @abstractmethod
    async def get(self, name: str, ids: Sequence[str]) -> Items:
        """Return the items with these ids, in the order of the ids. Unknown ids are left out."""

    @abstractmethod
    async def picture(self, name: str, id: str) -> bytes:
        """Return the original of an item. Raises UnknownItem, NoPicture."""

    @abstractmethod
    async def patch(self, name: str, id: str, patch: dict[str, Any]) -> Patched:
        """Change the metadata of an item by a JSON merge patch (RFC 7396). Raises UnknownItem, BadItem, MetadataTooLarge."""

    @abstractmethod
    async def delete_ids(self, name: str, ids: Sequence[str]) -> Deleted:
        """Delete those of these items that exist, all or none. The result has their ids in this order."""

    @abstractmethod
    async def delete_matching(
        self, name: str, filter: tuple[Condition, ...], after: str = "", limit: int = 100, strict: bool = False
    ) -> Deleted:
        """Delete what `scan` finds with the same arguments, all or none. The result has the ids, sorted.

        Keys of the filter are checked if `after` is empty: see `service.store.filters.check_deletion`. Raises UnknownKey.
        """

    async def delete(self, name: str, id: str) -> int:
        """Delete an item. Return the new sequence number of the collection. Raises UnknownItem."""
        deleted = await self.delete_ids(name, [id])
        if not deleted.ids:
            raise UnknownItem(name, id)
        return deleted.seq

    @abstractmethod
    async def search(self, name: str, digest: str, search: Search) -> Found:
        """Return the neighbors of each query. Raises UnknownKey."""

    @abstractmethod
    async def scan(
        self, name: str, after: str = "", limit: int = 100, filter: tuple[Condition, ...] = (), strict: bool = False
    ) -> Items:
        """Return items sorted by id, beginning with the first id greater than `after`.

        `strict`: raise UnknownKey if no item has a key of the filter.
        """

    @abstractmethod
    async def snapshots(
        self, name: str, wanted: Sequence[Wanted], known: Sequence[Snapshot | None], max_bytes: int
    ) -> list[Snapshot]:
        """Return all that is wanted of a collection, everything in the same state.

        `known`: for each what an earlier call returned, which is returned again if the collection has not changed. Raises
        SnapshotTooLarge if one takes more than `max_bytes`.
        """
