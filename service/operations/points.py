"""Points of a latent space, given as pictures, latents, posteriors or ids of items -> mu and sigma. Knows nothing of HTTP."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import of_points
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.operations import shaped
from service.operations.item_labels import stored_labels
from service.operations.items import Entries, encode_data
from service.operations.shaped import ShapedPoints
from service.operations.store_access import StoreAccess
from service.store.interface import Collection, UnknownItem

# N points as a request has them: entries of any kind, pictures alone, or pictures and latents of any size.
Points = Entries | RawItems | ShapedPoints


@dataclass(frozen=True, slots=True)
class Located:
    """N points. A latent, and an item that was stored without a sigma, has has_sigma false and zeros in sigma."""

    mu: Floats  # (N, D)
    sigma: Floats  # (N, D)
    has_sigma: NDArray[np.bool_]  # (N,)

    def __len__(self) -> int:
        return len(self.mu)


async def locate(
    pipeline: Pipeline, store: StoreAccess, inference: Inference, points: Points, collection: Collection | None = None
) -> Located:
    """Return where points are. Pictures take one pass through the encoder, ids one look into the collection.

    Points with an id need the collection, whose model `inference` must have; if that is conditional and all points are items,
    their labels become those of `inference`. Errors and warnings have the index of their
    point. Raises BadInput, UnknownItem, ModelMismatch, StoreError, BatcherError.
    """
    if isinstance(points, ShapedPoints):
        mu = await shaped.locate(pipeline, inference, points)
        return Located(mu, np.zeros_like(mu), np.zeros(len(mu), np.bool_))
    if isinstance(points, RawItems):
        rows = await pipeline.encode(points, inference)
        return Located(rows[:, 0], rows[:, 1], np.ones(len(rows), np.bool_))
    await _look_up(store, inference, points, collection)
    if points.data:
        with of_points():
            await encode_data(pipeline, inference, points)
    return Located(points.mu, points.sigma, points.has_sigma)


async def _look_up(store: StoreAccess, inference: Inference, points: Entries, collection: Collection | None) -> None:
    """Fill in the vectors of the points that are ids of items."""
    where = [i for i, id in enumerate(points.ids) if id is not None]
    if not where or collection is None:  # The parser refuses ids without a collection.
        return
    ids = [id for id in points.ids if id is not None]
    try:
        items = await store.items(collection, ids, inference.deadline)
    except UnknownItem as error:
        error.item, error.word = None if error.item is None else where[error.item], "point"
        raise
    if inference.model.condition is not None and inference.label is None and len(where) == len(points):
        known = dict(zip(items.ids, stored_labels(inference.model, items.ids, items.metadata), strict=True))
        inference.label = tuple(known[id] for id in ids)
    row_of = {id: row for row, id in enumerate(items.ids)}
    rows = [row_of[id] for id in ids]
    points.mu[where], points.sigma[where], points.has_sigma[where] = items.mu[rows], items.sigma[rows], items.has_sigma[rows]
