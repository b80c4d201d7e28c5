"""What a latent store is: collections of Gaussians that outlive a request, found again by id or by nearness.

Knows nothing of HTTP, of models, nor of how anything is stored.

    StoreError
      ├── UnknownCollection, UnknownItem      nothing has that name or id
      ├── ModelMismatch                       vectors of another model
      ├── BadItem                             an item, or a query, that the collection does not take
      ├── StoreFull                           the bound on the memory for vectors is reached
      ├── DiskFull                            the disk has no room
      ├── StoreUnavailable                    not now: the database is away, or does not answer
      │     └── StoreBusy                     not now: somebody else holds what is needed
      └── StoreUnusable                       not at all: corrupt, foreign, newer, or not to be written
"""

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.latents.distances import Doubles
from service.store.filters import Condition

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class StoreError(Exception):
    """Something that a store cannot do."""


class UnknownCollection(StoreError):
    """A name that no collection has."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        near = difflib.get_close_matches(name[:80], list(known), n=1)
        super().__init__(f"there is no collection {name!r}" + (f"; did you mean {near[0]}?" if near else "; make it with PUT"))


class UnknownItem(StoreError):
    """An id that no item of the collection has."""

    def __init__(self, collection: str, id: str) -> None:
        super().__init__(f"the collection {collection!r} has no item {id!r}")


class ModelMismatch(StoreError):
    """Vectors of one model, a collection of another."""

    def __init__(self, collection: "Collection", given: str) -> None:
        super().__init__(
            f"the vectors of {collection.name!r} are of {collection.label}, not of {given}: they cannot be compared; "
            f"to go on with the other model, PUT a new collection with it and add the pictures again"
        )


class BadItem(StoreError):
    """An item or a query that cannot be taken; `item` says which, counted from 0."""

    def __init__(self, reason: str, item: int | None = None) -> None:
        super().__init__(reason if item is None else f"item {item}: {reason}")
        self.item = item


class StoreFull(StoreError):
    """The bound on the memory for vectors is reached."""

    def __init__(self, needed: int, max_bytes: int) -> None:
        super().__init__(
            f"the vectors would take {needed} bytes of memory, {max_bytes} are allowed; delete some, or raise "
            "VAE_STORE_MAX_BYTES"
        )


class DiskFull(StoreError):
    """Nothing was stored, since the disk has no room for it."""


class StoreUnavailable(StoreError):
    """The database is away, or does not answer; later it may be there."""


class StoreBusy(StoreUnavailable):
    """Another session or process holds a lock of the database that is needed; nothing was changed."""

    retry_after = 5


class StoreUnusable(StoreError):
    """What the address leads to is no store that can be used."""


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
    seq: int = 0  # of its last change

    @property
    def label(self) -> str:
        """Name and digest of its model, as X-Model has them."""
        return f"{self.model}@sha256:{self.digest}"


@dataclass(slots=True)
class Items:
    """N items, a block: row i belongs to ids[i]. Without a sigma, has_sigma is false and the row of sigma 0."""

    ids: list[str]
    mu: Floats  # (N, D)
    sigma: Floats  # (N, D)
    has_sigma: Mask  # (N,)
    metadata: list[bytes]  # a JSON object each
    keys: frozenset[str] = frozenset()  # of all metadata, outermost
    seqs: list[int] = field(default_factory=list)  # of each one's last change, when it comes out of a store

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Query:
    """A Gaussian, (D,) each, or the id of an item that has one."""

    mu: Floats | None = None
    sigma: Floats | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: the k nearest to each query, by a metric of `service.latents.distances`."""

    queries: Sequence[Query]
    k: int
    metric: str
    filter: tuple[Condition, ...] = ()
    candidates: int | None = None  # measure only that many nearest by w2
    exact: bool | None = None  # an index that may miss some may answer when false; the store's own way when None
    dimensions: tuple[int, ...] | None = None  # those that count, all when None
    with_vectors: bool = False


@dataclass(slots=True)
class Neighbors:
    """The nearest to one query, nearest first, ties by id."""

    items: Items  # mu and sigma (N, 0) unless they were asked for
    distances: Doubles


@dataclass(slots=True)
class Found:
    """An answer to a search. `seq`: the last change of the collection that all of it has seen."""

    neighbors: list[Neighbors]
    exact: bool
    seq: int


class LatentStore(ABC):
    """Collections of Gaussians. Every change is durable when its method returns. All raise StoreError."""

    @abstractmethod
    async def open(self) -> None:
        """Look at what is there and make it ready. Raises StoreUnusable."""

    def check(self) -> None:  # noqa: B027 - most stores learn of it only by asking
        """Raise StoreUnusable if it can be seen at once that no request will succeed any more. Must not take time."""

    @abstractmethod
    async def close(self) -> None:
        """Let go; what was begun is finished, or stopped where it waits for somebody else."""

    @abstractmethod
    async def create(self, collection: Collection) -> Collection:
        """Make a collection; if its name is there with the same digest, set its metric and description."""

    @abstractmethod
    async def collections(self) -> list[Collection]:
        """All, by name."""

    @abstractmethod
    async def collection(self, name: str) -> Collection:
        """One of them."""

    @abstractmethod
    async def drop(self, name: str) -> Collection:
        """Delete a collection with its items; what it was."""

    @abstractmethod
    async def upsert(self, name: str, digest: str, items: Items) -> int:
        """Add items or replace those with the same ids, all or none; the collection's sequence number after it."""

    @abstractmethod
    async def get(self, name: str, ids: Sequence[str]) -> Items:
        """Those of the ids that are there, in their order."""

    @abstractmethod
    async def delete(self, name: str, id: str) -> int:
        """Take an item out; the collection's sequence number after it. Raises UnknownItem."""

    @abstractmethod
    async def search(self, name: str, digest: str, search: Search) -> Found:
        """The nearest to each query."""

    @abstractmethod
    async def scan(self, name: str, after: str = "", limit: int = 100, filter: tuple[Condition, ...] = ()) -> Items:
        """Items in the order of their ids, from the first after `after`."""


def no_vectors(count: int) -> Floats:
    """mu, or sigma, of items whose vectors were not asked for."""
    return np.empty((count, 0), np.float32)
