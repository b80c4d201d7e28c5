"""Matches collections with the models that encoded them. Knows nothing of HTTP."""

import logging

from service.inference.catalog import Catalog
from service.inference.served_model import ServedModel
from service.store.interface import Collection, LatentStore, ModelMismatch, StoreError

log = logging.getLogger(__name__)

# Stands between a model's name and its digest, as in X-Model.
DIGEST = "@sha256:"


class ModelNotLoaded(Exception):
    """A collection whose model is needed and absent."""

    def __init__(self, collection: Collection) -> None:
        super().__init__(
            f"the collection {collection.name!r} has vectors of {collection.label}, which is not loaded; load that model, "
            "or PUT a new collection with a loaded one and add the pictures again"
        )


class NoSigmaWeight(Exception):
    """A sigma_weight for a metric that has none."""

    def __init__(self, metric: str) -> None:
        super().__init__(
            f"sigma_weight is a parameter of the metric w2, but the metric is {metric}: leave it out, or add metric=w2"
        )
        self.metric = metric


def digest_of(catalog: Catalog, collection: Collection, stated: str | None, instead: str = "") -> str:
    """Return the digest of the model whose vectors a request has: stated as NAME or NAME@sha256:DIGEST, else the collection's.

    It must be the collection's. The collection's own name for its model counts as its digest if that is loaded under another
    name, unless a request states it and another model has it now. Raises ModelMismatch, which says what to do `instead`,
    ModelNotLoaded, UnknownModel.
    """
    name, _, digest = (stated or collection.model).partition(DIGEST)
    if not digest and name == collection.model and not (stated and name in catalog.models):
        digest = collection.digest if loaded_name(catalog, collection) else ""
    if not digest:
        if not stated and name not in catalog.models:
            raise ModelNotLoaded(collection)
        digest = catalog.get(name).digest
    if digest != collection.digest:
        raise ModelMismatch(collection, f"{name}{DIGEST}{digest}", instead)
    return digest


def loaded_name(catalog: Catalog, collection: Collection) -> str | None:
    """Return the name under which the collection's model is loaded: its own if possible, None if it is not loaded."""
    names = [name for name, model in catalog.models.items() if model.digest == collection.digest]
    return collection.model if collection.model in names else next(iter(names), None)


def model_of(catalog: Catalog, collection: Collection) -> ServedModel:
    """Return the collection's model, under whatever name it is loaded. Raises ModelNotLoaded."""
    name = loaded_name(catalog, collection)
    if name is None:
        raise ModelNotLoaded(collection)
    return catalog.models[name]


def new_collection(name: str, model: ServedModel) -> Collection:
    """Return an empty collection of a model, which is searched by the distance that was chosen for that model."""
    best = model.manifest.search
    return Collection(name, model.name, model.digest, model.latent_dim, best.metric, sigma_weight=best.sigma_weight)


def distance_of(collection: Collection, metric: str | None, sigma_weight: float | None) -> tuple[str, float]:
    """Return the metric and the weight of sigma that a request means. Raises NoSigmaWeight.

    Without a metric, both are the collection's. A stated w2 has the weight 1 unless the request states that, too.
    """
    if sigma_weight is None:
        return (metric, 1.0) if metric else (collection.metric, collection.sigma_weight)
    metric = metric or collection.metric
    if metric != "w2":
        raise NoSigmaWeight(metric)
    return metric, sigma_weight


async def warn_of_missing_models(catalog: Catalog, store: LatentStore) -> None:
    """Log the collections whose model is not loaded."""
    try:
        collections = await store.collections()
    except StoreError as error:
        log.warning("the latent store: %s", error)
        return
    loaded = {model.digest for model in catalog.models.values()}
    for collection in collections:
        if collection.digest not in loaded:
            log.warning("%s", ModelNotLoaded(collection))
