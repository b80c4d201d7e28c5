"""The interface of a latent store: durable collections of Gaussians, which are found by id or by nearest-neighbour search.

Knows nothing of HTTP, of models, nor of how anything is stored.

    StoreError
      ├── UnknownCollection, UnknownItem      no collection has that name, no item that id
      ├── ModelMismatch                       the vectors are those of another model
      ├── BadItem                             an item or a query that does not fit the collection
      ├── StoreFull                           the bound on the memory for vectors is reached
      ├── DiskFull                            the disk has no room
      ├── StoreUnavailable                    temporary: the database cannot be reached or does not answer
      │     └── StoreBusy                     temporary: another session or process holds a lock
      └── StoreUnusable                       permanent: corrupt, not a store, of a newer version, or not writable
"""

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.latents.distances import Doubles
from service.store.filters import Condition, Unknown

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class StoreError(Exception):
    """The store cannot do what was asked."""


class UnknownCollection(StoreError):
    """No collection has that name."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        near = difflib.get_close_matches(name[:80], list(known), n=1)
        super().__init__(f"there is no collection {name!r}" + (f"; did you mean {near[0]}?" if near else "; make it with PUT"))


class UnknownItem(StoreError):
    """No item of the collection has that id."""

    def __init__(self, collection: str, id: str) -> None:
        super().__init__(f"the collection {collection!r} has no item {id!r}")


class ModelMismatch(StoreError):
    """The vectors are from one model, the collection is of another."""

    def __init__(self, collection: "Collection", given: str) -> None:
        super().__init__(
            f"the collection {collection.name!r} has vectors of {collection.label}, which cannot be compared with those of "
            f"{given}; to use the other model, PUT a new collection with it and add the pictures again"
        )


class BadItem(StoreError):
    """An item or a query does not fit the collection. `item` says which one, counted from 0."""

    def __init__(self, reason: str, item: int | None = None) -> None:
        super().__init__(reason if item is None else f"item {item}: {reason}")
        self.item = item


class StoreFull(StoreError):
    """The bound on the memory for vectors is reached."""

    def __init__(self, needed: int, max_bytes: int) -> None:
        super().__init__(
            f"the vectors would take {needed} bytes of memory, {max_bytes} are allowed; delete items, or raise "
            "VAE_STORE_MAX_BYTES"
        )


class DiskFull(StoreError):
    """The disk is full; nothing was stored."""


class StoreUnavailable(StoreError):
    """The database cannot be reached or does not answer. A later try may succeed."""


class StoreBusy(StoreUnavailable):
    """Another session or process holds a lock in the database; nothing was changed."""

    retry_after = 5


class StoreUnusable(StoreError):
    """There is no usable store at the address."""


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

    @property
    def label(self) -> str:
        """Name and digest of its model, in the form of the header X-Model."""
        return f"{self.model}@sha256:{self.digest}"

    def of_model(self, digest: str | None) -> "Collection":
        """Return this collection if its model has the digest, or any for None. Raises ModelMismatch."""
        if digest not in (None, self.digest):
            raise ModelMismatch(self, f"sha256:{digest}")
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
    candidates: int | None = None  # measure only this many nearest by w2
    exact: bool | None = None  # False allows an approximate index; None leaves it to the store
    dimensions: tuple[int, ...] | None = None  # dimensions to compare; None: all
    with_vectors: bool = False
    strict: bool = False  # a key of the filter that no item has is an error
    exclude_self: bool = False  # the item of a query by id is not among its neighbors


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
        """Make a collection. If it exists with the same digest, set its metric and description."""

    @abstractmethod
    async def collections(self) -> list[Collection]:
        """Return all collections, sorted by name."""

    @abstractmethod
    async def collection(self, name: str) -> Collection:
        """Return one collection. Raises UnknownCollection."""

    @abstractmethod
    async def drop(self, name: str) -> Collection:
        """Delete a collection with its items, and return what it was. Raises UnknownCollection."""

    @abstractmethod
    async def upsert(self, name: str, digest: str, items: Items) -> int:
        """Add items, or replace those with the same ids, all or none. Return the new sequence number of the collection."""

    @abstractmethod
    async def get(self, name: str, ids: Sequence[str]) -> Items:
        """Return the items with these ids, in the order of the ids. Unknown ids are left out."""

    @abstractmethod
    async def delete(self, name: str, id: str) -> int:
        """Delete an item. Return the new sequence number of the collection. Raises UnknownItem."""

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
