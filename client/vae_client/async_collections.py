"""The methods of the asynchronous client on collections. The twin of sync_collections.py."""

from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any, Literal

from vae_client import batches, collection_calls
from vae_client.async_transport import AsyncTransport
from vae_client.calls import Background, Invert, Options
from vae_client.pictures import Picture, Pictures
from vae_client.progress import Progress
from vae_client.results import Added, Collection, Item, Neighbors, Posteriors
from vae_client.sync_collections import Filter, Metadata, Metric


class AsyncCollectionMethods(AsyncTransport):
    """Collections, their items, and search."""

    async def list_collections(self, *, timeout_ms: int | None = None) -> list[Collection]:
        """Return all collections, in the order of their names."""
        return await self._run(collection_calls.list_collections(Options(None, timeout_ms)))

    async def put_collection(
        self,
        name: str,
        *,
        metric: Metric | None = None,
        description: str | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Collection:
        """Make a collection, or set the metric and the description of one that exists."""
        return await self._run(collection_calls.put_collection(name, self._options(model, timeout_ms), metric, description))

    async def get_collection(self, name: str, *, timeout_ms: int | None = None) -> Collection:
        """Return one collection with its number of items. Raises NotFound."""
        return await self._run(collection_calls.get_collection(name, Options(None, timeout_ms)))

    async def delete_collection(self, name: str, *, timeout_ms: int | None = None) -> Collection:
        """Delete a collection with all its items, and return what it was. Raises NotFound."""
        return await self._run(collection_calls.delete_collection(name, Options(None, timeout_ms)))

    async def add(
        self,
        collection: str,
        items: "Pictures | Posteriors",
        *,
        ids: Iterable[str] | str | None = None,
        metadata: Iterable[Metadata] | Metadata = None,
        background: Background | None = None,
        invert: Invert | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Added:
        """Add pictures or posteriors with one request, all or none. Items whose ids exist are replaced.

        Ids that are not given are drawn by the client, so that a request that is sent again adds nothing twice.
        """
        batch = batches.one(items, ids, metadata)
        return await self._built(collection_calls.add, collection, batch, Options(model, timeout_ms, background, invert))

    async def add_many(
        self,
        collection: str,
        items: "Pictures | Posteriors",
        *,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Metadata] | None = None,
        batch_size: int = 512,
        concurrency: int = 4,
        progress: bool = False,
        background: Background | None = None,
        invert: Invert | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Added:
        """Add any number of pictures or posteriors, and return all their ids. Raises BatchFailed, whose ids were not added.

        With ids of your own you can call it again after a failure; what is there already is replaced by the same.
        """
        parts = self.add_batches(
            collection,
            items,
            ids=ids,
            metadata=metadata,
            batch_size=batch_size,
            concurrency=concurrency,
            progress=progress,
            background=background,
            invert=invert,
            model=model,
            timeout_ms=timeout_ms,
        )
        return Added.join([part async for part in parts])

    def add_batches(
        self,
        collection: str,
        items: "Pictures | Posteriors",
        *,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Metadata] | None = None,
        batch_size: int = 512,
        concurrency: int = 4,
        progress: bool = False,
        background: Background | None = None,
        invert: Invert | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> AsyncIterator[Added]:
        """Add as `add_many` does, and yield the result of one batch after the other."""
        options = Options(model, timeout_ms, background, invert)
        parts = batches.named(items, batch_size, ids, metadata)
        bar = Progress(progress, "add", batches.count_of(items) if progress else None)
        return self._in_order(parts, lambda batch: collection_calls.add(collection, batch, options), concurrency, bar)

    async def items(
        self,
        collection: str,
        *,
        filter: Filter | None = None,
        include: Iterable[Literal["mu", "sigma"]] = (),
        page_size: int = 1000,
        timeout_ms: int | None = None,
    ) -> AsyncIterator[Item]:
        """Yield all items in the order of their ids, which are fetched page by page."""
        options, include = Options(None, timeout_ms), tuple(include)
        cursor: str | None = None
        while True:
            page, cursor = await self._run(collection_calls.page(collection, options, cursor, page_size, filter, include))
            for item in page:
                yield item
            if cursor is None:
                return

    async def get_item(self, collection: str, id: str, *, timeout_ms: int | None = None) -> Item:
        """Return one item with mu and sigma. Raises NotFound."""
        return await self._run(collection_calls.get_item(collection, id, Options(None, timeout_ms)))

    async def delete_item(self, collection: str, id: str, *, timeout_ms: int | None = None) -> None:
        """Delete one item. Raises NotFound."""
        await self._run(collection_calls.delete_item(collection, id, Options(None, timeout_ms)))

    async def search(
        self,
        collection: str,
        picture: "Picture | None" = None,
        *,
        mu: Any = None,
        sigma: Any = None,
        id: str | None = None,
        k: int = 10,
        metric: Metric | None = None,
        filter: Filter | None = None,
        include: Iterable[Literal["mu", "sigma", "image"]] = (),
        active_only: bool | None = None,
        candidates: int | None = None,
        exact: bool | None = None,
        background: Background | None = None,
        invert: Invert | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
    ) -> Neighbors:
        """Return the k nearest items of a picture, of a posterior mu (D,) and maybe sigma, or of the item with an id."""
        build = partial(
            collection_calls.search,
            collection,
            Options(model, timeout_ms, background, invert),
            picture,
            mu,
            sigma,
            id,
            include,
            k=k,
            metric=metric,
            filter=filter,
            active_only=active_only,
            candidates=candidates,
            exact=exact,
        )
        return await self._built(build)
