"""Matches collections with the models that encoded them. Knows nothing of HTTP."""

import logging

from service.inference.catalog import Catalog
from service.inference.served_model import ServedModel
from service.store.interface import Collection, LatentStore, ModelMismatch, StoreError

log = logging.getLogger(__name__)

# Stands between a model's name and its digest, as in X-Model.
DIGEST = "@sha256:"
# In nats. A dimension with less is the prior, whatever the picture is.
ACTIVE_KL = 0.01


class ModelNotLoaded(Exception):
    """A collection whose model is needed and absent."""

    def __init__(self, collection: Collection) -> None:
        super().__init__(
            f"the collection {collection.name!r} has vectors of {collection.label}, which is not loaded; load that model, "
            "or PUT a new collection with a loaded one and add the pictures again"
        )


class NoKlPerDim(Exception):
    """A model whose metrics.json does not say which of its dimensions are in use."""


def digest_of(catalog: Catalog, collection: Collection, stated: str | None) -> str:
    """Return the digest of the model whose vectors a request has: stated as NAME or NAME@sha256:DIGEST, else the collection's.

    It must be the collection's. The collection's own name for its model counts as its digest if that is loaded under another
    name, unless a request states it and another model has it now. Raises ModelMismatch, ModelNotLoaded, UnknownModel.
    """
    name, _, digest = (stated or collection.model).partition(DIGEST)
    if not digest and name == collection.model and not (stated and name in catalog.models):
        digest = collection.digest if loaded_name(catalog, collection) else ""
    if not digest:
        if not stated and name not in catalog.models:
            raise ModelNotLoaded(collection)
        digest = catalog.get(name).digest
    if digest != collection.digest:
        raise ModelMismatch(collection, f"{name}{DIGEST}{digest}")
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


def active_dimensions(catalog: Catalog, collection: Collection) -> tuple[int, ...] | None:
    """Return the dimensions whose KL in the model's metrics.json is not about zero; None for all. Raises NoKlPerDim."""
    model = model_of(catalog, collection)
    kl = catalog.metrics[model.name].get("kl_per_dim")
    if not isinstance(kl, list) or len(kl) != collection.dim or not all(isinstance(nats, int | float) for nats in kl):
        raise NoKlPerDim(f"active_only: metrics.json of {model.name} has no kl_per_dim; python -m models.evaluate measures it")
    active = tuple(i for i, nats in enumerate(kl) if nats >= ACTIVE_KL)
    return None if len(active) == collection.dim else active


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
