"""The errors of a latent store.

StoreError
  ├── UnknownCollection, UnknownItem      no collection has that name, no item that id
  │     └── CollectionReplaced            of collections: another one has that name now
  ├── UnknownDirection                    the collection has no direction with that name
  ├── BadName                             no collection, or no direction, may have that name
  ├── ReadOnly                            the name is reserved for a collection that no request can change
  ├── NoPicture                           the item has no original picture
  ├── ItemsExist                          ids of new items that the collection has already
  ├── ModelMismatch                       the vectors are those of another model
  ├── BadItem                             an item or a query that does not fit the collection
  ├── MetadataTooLarge                    more metadata than an item may have
  ├── SnapshotTooLarge                    a collection, or what a filter finds in it, that is too large to be read as a whole
  ├── StoreFull, PicturesFull             the bound on the memory for vectors, or on kept pictures, is reached
  ├── DirectionsFull                      the collection has as many directions as it may have
  ├── DiskFull                            the disk has no room
  ├── StoreUnavailable                    temporary: the database cannot be reached or does not answer
  │     └── StoreBusy                     temporary: another session or process holds a lock
  └── StoreUnusable                       permanent: corrupt, not a store, of a newer version, or not writable
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from service.suggestion import suggestion

if TYPE_CHECKING:
    from service.store.interface import Collection

# An error message names so many ids.
NAMED = 20


class StoreError(Exception):
    """The store cannot do what was asked."""


class UnknownCollection(StoreError):
    """No collection has that name. `hint`: what the message says instead of names that are alike; `known`: all names."""

    known: Sequence[str] = ()

    def __init__(self, name: str, known: Iterable[str] = (), hint: str = "") -> None:
        self.known = sorted(known)
        likely = suggestion(name, self.known, "GET /collections?training=true lists all, PUT makes a new one")
        super().__init__(f"there is no collection {name[:120]!r}; {hint or likely}")


class CollectionReplaced(UnknownCollection):
    """The collection that was read has been deleted, and another one has its name now."""

    def __init__(self, name: str) -> None:
        StoreError.__init__(
            self,
            f"the collection {name!r} was deleted while this request worked with it, and the one that has this name now is "
            "another; nothing was stored; send the request again to work with the new one",
        )


class BadName(StoreError):
    """No collection, or no direction, may have that name."""

    def __init__(self, name: str, what: str = "collection") -> None:
        wrong = sorted(set(re.findall(r"[^A-Za-z0-9._-]", name)))[:NAMED]
        because = f", because it has {' '.join(map(repr, wrong))}" if wrong else ""
        super().__init__(
            f"{name[:120]!r} is not a valid name for a {what}{because}: use up to 100 letters (A to Z, a to z), digits, '.', "
            "'_' and '-', of which the first is a letter or digit"
        )


class ReadOnly(StoreError):
    """The name is reserved for the training latents of a model, which no request can change."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no request can make or change {name[:120]!r}: names that begin with 'training:' are reserved for the training "
            "latents of models; PUT a collection with another name, and add items to that"
        )


class UnknownItem(StoreError):
    """No item of the collection has that id.

    `item` says which query asks for it, counted from 0, if there are several, and `word` what the message calls a query.
    """

    def __init__(self, collection: str, id: str) -> None:
        super().__init__(f"the collection {collection!r} has no item {id!r}")
        self.id = id
        self.item: int | None = None
        self.word = "item"

    def __str__(self) -> str:
        return super().__str__() if self.item is None else f"{self.word} {self.item}: {super().__str__()}"


class UnknownDirection(StoreError):
    """The collection has no direction with that name."""

    def __init__(self, collection: str, name: str, known: Iterable[str] = ()) -> None:
        hint = suggestion(name, known, f"GET /collections/{collection}/directions lists all")
        super().__init__(f"the collection {collection!r} has no direction {name[:120]!r}; {hint}")


class NoPicture(StoreError):
    """The item has no original picture. `reason`: why, if it is not that of a collection that callers have made."""

    def __init__(self, collection: str, id: str, reason: str = "") -> None:
        usual = (
            f"it was added as a vector, or the collection {collection!r} kept none then; to keep them, PUT the collection "
            'with {"keep": "picture"} and add the picture again'
        )
        super().__init__(f"the item {id!r} has no original picture: {reason or usual}")


class ItemsExist(StoreError):
    """Ids of new items that the collection has already; nothing was stored."""

    def __init__(self, collection: str, ids: Sequence[str]) -> None:
        more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
        super().__init__(
            f"the collection {collection!r} already has {', '.join(map(repr, ids[:NAMED]))}{more}; nothing was stored; "
            "use other ids, or if_exists=replace or if_exists=skip"
        )
        self.ids = list(ids)


class ModelMismatch(StoreError):
    """The vectors are from one model, the collection is of another."""

    def __init__(self, collection: "Collection", given: str, instead: str = "") -> None:
        """`instead`: what to do; the default is for a request that changes the collection."""
        instead = instead or "to use the other model, PUT a new collection with it and add the pictures again"
        super().__init__(
            f"the collection {collection.name!r} has vectors of {collection.label}, which cannot be compared with those of "
            f"{given}; {instead}"
        )


class BadItem(StoreError):
    """An item or a query does not fit the collection. `item` says which one, counted from 0."""

    def __init__(self, reason: str, item: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.item = reason, item

    def __str__(self) -> str:
        return self.reason if self.item is None else f"item {self.item}: {self.reason}"


class MetadataTooLarge(StoreError):
    """More metadata than an item may have. `what`: how the message names it."""

    def __init__(self, size: int, most: int, item: int | None = None, what: str = "the metadata") -> None:
        where = "" if item is None else f"item {item}: "
        super().__init__(f"{where}{what} takes {size} bytes, at most {most} ({most >> 10} KiB) are allowed")


class SnapshotTooLarge(StoreError):
    """A collection, or what a filter finds in it, takes too much memory to be worked with as a whole."""

    def __init__(self, collection: str, items: int, max_bytes: int, with_metadata: bool) -> None:
        what, instead = (" and their metadata", ", ask for no metadata") if with_metadata else ("", "")
        super().__init__(
            f"the vectors of {items} or more items of the collection {collection!r}{what} take more than the "
            f"{max_bytes >> 20} MiB that may be worked with as a whole; narrow the filter{instead}, or split the collection"
        )


class StoreFull(StoreError):
    """The bound on the memory for vectors is reached."""

    def __init__(self, needed: int, max_bytes: int) -> None:
        super().__init__(
            f"the vectors would take {needed} bytes of memory, {max_bytes} are allowed; delete items, or raise "
            "VAE_STORE_MAX_BYTES"
        )


class PicturesFull(StoreError):
    """The bound on the bytes of kept pictures is reached; nothing was stored."""

    def __init__(self, needed: int, max_bytes: int) -> None:
        super().__init__(
            f"the kept pictures would take {needed} bytes, {max_bytes} are allowed; nothing was stored; delete items, raise "
            'VAE_STORE_MAX_PICTURE_BYTES, or PUT the collection with {"keep": "nothing"}'
        )


class DirectionsFull(StoreError):
    """The collection has as many directions as it may have; nothing was stored."""

    def __init__(self, collection: str, most: int) -> None:
        super().__init__(
            f"the collection {collection!r} has {most} directions already, and may not have more; nothing was stored; delete "
            "one, or replace one by using its name"
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
