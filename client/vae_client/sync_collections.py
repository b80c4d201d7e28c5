"""The methods of the client on collections."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from vae_client import batches, collection_calls
from vae_client.batches import BATCH_SIZE
from vae_client.calls import Background, Invert, Options, names
from vae_client.data import Data
from vae_client.labels import Label
from vae_client.pictures import Picture, Pictures
from vae_client.progress import Progress
from vae_client.results import Added, Collection, Deleted, Item, Neighbors, Posteriors
from vae_client.sync_transport import Transport

Metric: TypeAlias = Literal["l2", "cosine", "w2", "jeffreys", "bhattacharyya", "hellinger", "fisher_rao"]
IfExists: TypeAlias = Literal["replace", "error", "skip"]
Included: TypeAlias = Literal["mu", "sigma", "image", "row", "sketch", "text"]
Filter: TypeAlias = Mapping[str, Any]
Metadata: TypeAlias = Mapping[str, Any] | None


class CollectionMethods(Transport):
    """Collections, their items, and search."""

    def list_collections(self, *, timeout_ms: int | None = None) -> list[Collection]:
        """Return all collections, in the order of their names."""
        return self._run(collection_calls.list_collections(Options(None, timeout_ms)))

    def put_collection(
        self,
        name: str,
        *,
        metric: Metric | None = None,
        sigma_weight: float | None = None,
        description: str | None = None,
        keep: Literal["nothing", "picture"] | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Collection:
        """Make a collection, or change one that exists: what is None stays. `keep="picture"` keeps original pictures.

        Without a metric, a new one is searched by the distance that was chosen for its model. `sigma_weight` is for w2.
        """
        options = self._options(model, timeout_ms)
        return self._run(collection_calls.put_collection(name, options, metric, description, keep, sigma_weight))

    def get_collection(self, name: str, *, timeout_ms: int | None = None) -> Collection:
        """Return one collection with its number of items. Raises NotFound."""
        return self._run(collection_calls.get_collection(name, Options(None, timeout_ms)))

    def delete_collection(self, name: str, *, timeout_ms: int | None = None) -> Collection:
        """Delete a collection with all its items, and return what it was. Raises NotFound."""
        return self._run(collection_calls.delete_collection(name, Options(None, timeout_ms)))

    def add(
        self,
        collection: str,
        items: "Pictures | Posteriors",
        *,
        ids: Iterable[str] | str | None = None,
        metadata: Iterable[Metadata] | Metadata = None,
        if_exists: IfExists | None = None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Added:
        """Add pictures or posteriors with one request, all or none. Items whose ids exist are replaced, by default.

        `if_exists="skip"` keeps the old ones instead, and `"error"` raises Conflict, whose `ids` names them.

        One mapping is the metadata of all items. Ids that are not given are drawn by the client, so that a request that is
        sent again adds nothing twice.
        """
        batch = batches.one(items, ids, metadata)
        options = Options(model, timeout_ms, background, invert, label)
        return self._run(collection_calls.add(collection, batch, options, if_exists))

    def add_many(
        self,
        collection: str,
        items: "Pictures | Posteriors",
        *,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Metadata] | Metadata = None,
        if_exists: IfExists | None = None,
        batch_size: int = BATCH_SIZE,
        concurrency: int = 4,
        progress: bool = False,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Added:
        """Add any number of pictures or posteriors, and return all their ids. Raises BatchFailed, whose ids were not added.

        One mapping is the metadata of all. Batches after the one that failed may have been added too. With ids of your own you
        can call it again: what is there already is replaced by the same, or left out with `if_exists="skip"`.
        """
        parts = self.add_batches(
            collection,
            items,
            ids=ids,
            metadata=metadata,
            if_exists=if_exists,
            batch_size=batch_size,
            concurrency=concurrency,
            progress=progress,
            background=background,
            invert=invert,
            label=label,
            model=model,
            timeout_ms=timeout_ms,
        )
        return Added.join(list(parts))

    def add_batches(
        self,
        collection: str,
        items: "Pictures | Posteriors",
        *,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Metadata] | Metadata = None,
        if_exists: IfExists | None = None,
        batch_size: int = BATCH_SIZE,
        concurrency: int = 4,
        progress: bool = False,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Iterator[Added]:
        """Add as `add_many` does, and yield the result of one batch after the other."""
        options = Options(model, timeout_ms, background, invert, label)
        parts = batches.named(items, batch_size, ids, metadata)
        bar = Progress(progress, "add", batches.count_of(items) if progress else None)
        return self._in_order(
            parts, lambda batch: collection_calls.add(collection, batch, options.of(batch.items), if_exists), concurrency, bar
        )

    def items(
        self,
        collection: str,
        *,
        filter: Filter | None = None,
        strict: bool | None = None,
        include: Iterable[Literal["mu", "sigma"]] | Literal["mu", "sigma"] = (),
        page_size: int = 1000,
        timeout_ms: int | None = None,
    ) -> Iterator[Item]:
        """Yield all items in the order of their ids, which are fetched page by page. Issues UnknownKeyWarning."""
        options, fields = Options(None, timeout_ms), names(include)
        cursor: str | None = None
        while True:
            page = self._run(collection_calls.page(collection, options, cursor, page_size, filter, strict, fields))
            if cursor is None:  # Each page repeats what the first one says about the filter.
                collection_calls.warned(page)
            cursor = page.cursor
            yield from page.items
            if cursor is None:
                return

    def get_item(self, collection: str, id: str, *, timeout_ms: int | None = None) -> Item:
        """Return one item with mu and sigma. Raises NotFound."""
        return self._run(collection_calls.get_item(collection, id, Options(None, timeout_ms)))

    def delete_item(self, collection: str, id: str, *, timeout_ms: int | None = None) -> None:
        """Delete one item. Raises NotFound."""
        self._run(collection_calls.delete_item(collection, id, Options(None, timeout_ms)))

    def delete_items(
        self,
        collection: str,
        *,
        ids: Iterable[str] | None = None,
        filter: Filter | None = None,
        strict: bool | None = None,
        timeout_ms: int | None = None,
    ) -> Deleted:
        """Delete the items with these ids, or those that a filter finds. Issues UnknownKeyWarning.

        Raises Conflict for a filter that would match every item because of an unknown key, and with `strict` for any such key.
        """
        call = collection_calls.delete_items(collection, ids, filter, strict, Options(None, timeout_ms))
        return collection_calls.warned(self._run(call))

    def change_item(self, collection: str, id: str, patch: Mapping[str, Any], *, timeout_ms: int | None = None) -> Item:
        """Change the metadata of one item by a JSON merge patch, and return it without vectors. Raises NotFound.

        Keys whose value is None are removed, objects are merged, other values replace; all other keys stay.
        """
        return self._run(collection_calls.change_item(collection, id, patch, Options(None, timeout_ms)))

    def get_picture(self, collection: str, id: str, *, timeout_ms: int | None = None) -> bytes:
        """Return the original picture of an item of a collection with `keep="picture"`, as it was sent. Raises NotFound."""
        return self._run(collection_calls.get_picture(collection, id, Options(None, timeout_ms)))

    def search(
        self,
        collection: str,
        picture: "Picture | Data | None" = None,
        *,
        mu: Any = None,
        sigma: Any = None,
        id: str | None = None,
        k: int = 10,
        metric: Metric | None = None,
        sigma_weight: float | None = None,
        filter: Filter | None = None,
        strict: bool | None = None,
        exclude_self: bool | None = None,
        include: Iterable[Literal["mu", "sigma", "image", "row", "sketch", "text"]]
        | Literal["mu", "sigma", "image", "row", "sketch", "text"] = (),
        candidates: int | None = None,
        exact: bool | None = None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Neighbors:
        """Return the k nearest items of a picture, of a posterior mu (D,) and maybe sigma, or of the item with an id.

        `exclude_self` leaves the item with that id out. A key of the filter that no item has is named in `unknown_keys` of the
        result and in an UnknownKeyWarning; `strict` raises Conflict instead. `sigma_weight` is for the metric w2, which takes
        a `mu` without `sigma` for a point; the posterior of one picture as `mu` has both.
        """
        call = collection_calls.search(
            collection,
            Options(model, timeout_ms, background, invert, label),
            picture,
            mu,
            sigma,
            id,
            include,
            k=k,
            metric=metric,
            sigma_weight=sigma_weight,
            filter=filter,
            strict=strict,
            exclude_self=exclude_self,
            candidates=candidates,
            exact=exact,
        )
        return collection_calls.warned(self._run(call))
