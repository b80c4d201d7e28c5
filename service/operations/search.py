"""Search for the nearest items of a collection to data, posteriors or items. Knows nothing of HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from service.engine.errors import TooLarge
from service.inference.inference import Inference
from service.inference.picture_warnings import PictureWarning
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.operations.collection_model import distance_of, model_of
from service.operations.generate import decode
from service.operations.item_labels import stored_labels
from service.operations.items import Entries, encode_entries
from service.operations.store_access import StoreAccess
from service.store.filters import Condition
from service.store.interface import Collection, Found, Items, Query, Search, UnknownItem

# The bound for all queries of a request together: each neighbour takes about a kilobyte of memory until it is sent.
MOST_NEIGHBORS = 1 << 19


class TooManyNeighbors(TooLarge):
    """More neighbours than one answer may have."""

    def __str__(self) -> str:
        most = f"one answer may have {self.max_rows}. Lower k, or send fewer queries"
        return f"the queries ask for {self.rows} neighbours in all; {most}"


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Options of a search: see `service.store.interface.Search`, and `distance_of` for metric and sigma_weight."""

    k: int = 10
    metric: str | None = None
    filter: tuple[Condition, ...] = ()
    candidates: int | None = None
    exact: bool | None = None
    with_vectors: bool = False
    with_data: bool = False
    strict: bool = False
    exclude_self: bool = False
    sigma_weight: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Neighbours of each query; where they were asked for, the data of all neighbours in their order."""

    found: Found
    asked: Search  # with the metric and its weight
    decoded: Floats | None  # (n, ...), what the decoder makes of their mu


@asynccontextmanager
async def search(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    digest: str,
    queries: Entries,
    wanted: SearchOptions,
) -> AsyncIterator[SearchResult]:
    """Find the nearest items to each query, nearest first, ties by id; distances are computed in float64.

    The search counts as under way until the block ends: write the answer in it, so that the bound on searches also bounds
    the memory of long answers. `digest`: of the model whose vectors the queries are; it must be the collection's. Raises
    TooManyNeighbors, NoSigmaWeight, StoreError, Overloaded, ModelNotLoaded, BadInput, BatcherError.
    """
    metric, sigma_weight = distance_of(collection, wanted.metric, wanted.sigma_weight)
    _check_size(pipeline, collection, wanted, len(queries))
    with store.searches.admit(len(queries)):
        await encode_entries(pipeline, inference, collection, queries)
        asked = Search(
            _queries(queries),
            wanted.k,
            metric,
            wanted.filter,
            wanted.candidates,
            wanted.exact,
            with_vectors=wanted.with_vectors or wanted.with_data,
            strict=wanted.strict,
            exclude_self=wanted.exclude_self,
            sigma_weight=sigma_weight,
        )
        try:
            found = await store.search(collection.name, digest, asked, inference.deadline)
        except UnknownItem as error:
            error.item = queries.ids.index(error.id)
            raise
        if wanted.metric is None and metric == "w2":
            _warn_of_points(queries, found, inference)
        decoded = await _decode(pipeline, inference, collection, found) if wanted.with_data else None
        yield SearchResult(found, asked, decoded)


def _check_size(pipeline: Pipeline, collection: Collection, wanted: SearchOptions, queries: int) -> None:
    """Refuse a search that would find too much, before anything is done. Raises TooManyNeighbors."""
    asked = queries * min(wanted.k, collection.count)
    most = pipeline.max_items if wanted.with_data else MOST_NEIGHBORS
    if asked > most:
        raise TooManyNeighbors(asked, most)


def _warn_of_points(queries: Entries, found: Found, inference: Inference) -> None:
    """Warn of queries without a sigma that were compared with items that have one, though nobody asked for w2."""
    for i, neighbors in enumerate(found.neighbors):
        if queries.ids[i] is None and not queries.has_sigma[i] and neighbors.items.has_sigma.any():
            words = (
                "The query has no sigma, so w2 takes it for a point, but the items have one: send its sigma, too, or metric=l2"
            )
            inference.warnings.found.append(PictureWarning(i, "no_sigma", words))


def _queries(entries: Entries) -> list[Query]:
    """Return the queries as a store takes them; one without sigma is a point, which not every metric takes."""
    return [
        Query(id=id)
        if id is not None and entries.raw[i] is None
        else Query(entries.mu[i], entries.sigma[i] if entries.has_sigma[i] else None)
        for i, id in enumerate(entries.ids)
    ]


async def _decode(pipeline: Pipeline, inference: Inference, collection: Collection, found: Found) -> Floats:
    """Return what the decoder makes of all neighbours, (n, ...), in order. Raises ModelNotLoaded, BatcherError."""
    z = np.concatenate([neighbors.items.mu for neighbors in found.neighbors])
    if not len(z):  # then no model is needed
        return np.empty((0, 0, 0, 0), np.float32)
    inference.model = model_of(pipeline.catalog, collection)
    if inference.model.condition is not None:
        inference.label = tuple(label for neighbors in found.neighbors for label in _labels(inference, neighbors.items))
    return await decode(pipeline, inference, np.ascontiguousarray(z))


def _labels(inference: Inference, items: Items) -> tuple[str, ...]:
    return stored_labels(inference.model, items.ids, items.metadata)
