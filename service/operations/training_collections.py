"""The training latents of each loaded model as a collection `training:NAME`, which can be read like any other.

They are those of the model's calibration. Knows nothing of HTTP.
"""

import asyncio
from dataclasses import replace

import numpy as np
import orjson

from models.calibration import Calibration
from service.inference.catalog import Catalog
from service.inference.served_model import ServedModel
from service.operations.collection_model import new_collection
from service.operations.score import HOW_TO_CALIBRATE
from service.store import LatentStore
from service.store.errors import NAMED
from service.store.forwarding import ForwardingStore
from service.store.interface import Collection, Items, NoPicture, ReadOnly, UnknownCollection
from service.store.names import TRAINING_PREFIX

DESCRIPTION = "training latents of the model: those of its calibration"


def training_collections(catalog: Catalog) -> list[Collection]:
    """Return the collections of the training latents of all loaded models that have some, in the order of their names."""
    models = (model for _, model in sorted(catalog.models.items()))
    return [_collection(model, model.calibration) for model in models if model.calibration is not None]


def _collection(model: ServedModel, calibration: Calibration) -> Collection:
    """Return the collection as it is when it has been loaded. It is searched by the distance that was chosen for the model."""
    count = len(calibration.mu)
    return replace(new_collection(TRAINING_PREFIX + model.name, model), description=DESCRIPTION, count=count, seq=count)


def _items(calibration: Calibration, key: str = "label") -> Items:
    """Return the latents as items; the order of their ids is their order in the calibration.

    Each has its label as metadata, if there are labels; `key` is that of a conditional model.
    """
    count = len(calibration.mu)
    digits = len(str(count - 1))
    ids = [f"{i:0{digits}}" for i in range(count)]
    metadata = [b"{}"] * count
    if calibration.labels is not None:
        texts = [orjson.dumps({key: name}) for name in calibration.label_names]
        metadata = [texts[label] for label in calibration.labels.tolist()]
    keys = frozenset() if calibration.labels is None else frozenset((key,))
    return Items(ids, calibration.mu, calibration.sigma, np.ones(count, np.bool_), metadata, keys)


class TrainingStore(ForwardingStore):
    """A store that has, beside the collections of another one, the training latents of each loaded model.

    They are loaded into a store in memory when they are first asked for, and those of models that are no longer loaded are
    dropped when others are loaded. A change of such a collection raises ReadOnly; a read of one that is not there raises
    UnknownCollection.
    """

    def __init__(self, store: LatentStore, catalog: Catalog, memory: LatentStore) -> None:
        """`memory`: an empty store. It takes about as much memory as the calibrations of the loaded models do."""
        super().__init__(store)
        self._catalog, self._memory = catalog, memory
        self._loaded: dict[str, Calibration] = {}  # what the collections in memory were loaded from, by name
        self._lock = asyncio.Lock()  # held while a collection is loaded

    async def close(self) -> None:
        await super().close()
        await self._memory.close()

    async def to_read(self, name: str) -> LatentStore:
        """Return the store that has a collection, after it has been loaded if it is one of training latents."""
        if not name.startswith(TRAINING_PREFIX):
            return self._store
        model = self._catalog.models.get(name.removeprefix(TRAINING_PREFIX))
        if model is None:
            loaded = ", ".join(list(self._catalog.models)[:NAMED])
            hint = f"it would have the training latents of a loaded model, and the loaded models are {loaded}"
            raise UnknownCollection(name, hint=f"{hint}; GET /collections?training=true lists all collections")
        if model.calibration is None:
            why = f"the model {model.name!r} has no calibration that fits its weights, so it has no training latents"
            raise UnknownCollection(name, hint=f"{why}. {HOW_TO_CALIBRATE}")
        if self._loaded.get(name) is not model.calibration:
            # Loading goes on if this caller leaves: the next one would have to begin anew.
            await asyncio.shield(self._load(name))
        return self._memory

    def to_change(self, name: str) -> LatentStore:
        """Return the store in which a collection can be changed. Raises ReadOnly."""
        if name.startswith(TRAINING_PREFIX):
            raise ReadOnly(name)
        return self._store

    async def picture(self, name: str, id: str) -> bytes:
        try:
            return await super().picture(name, id)
        except NoPicture:
            if not name.startswith(TRAINING_PREFIX):
                raise
        raise NoPicture(name, id, "training latents have no pictures; include=image of a search decodes them")

    async def _load(self, name: str) -> None:
        async with self._lock:
            # While this waited, another request may have loaded it, and the model may have been replaced or unloaded.
            model = self._catalog.models.get(name.removeprefix(TRAINING_PREFIX))
            if model is None or model.calibration is None or self._loaded.get(name) is model.calibration:
                return
            await self._drop_old()
            items = await asyncio.to_thread(_items, model.calibration, model.condition.key if model.condition else "label")
            await self._memory.create(_collection(model, model.calibration))
            await self._memory.upsert(name, model.digest, items)
            self._loaded[name] = model.calibration

    async def _drop_old(self) -> None:
        """Drop the collections of models that were unloaded or replaced, and what a failure has left."""
        current = {TRAINING_PREFIX + name: model.calibration for name, model in self._catalog.models.items()}
        for old in await self._memory.collections():
            calibration = self._loaded.get(old.name)
            if calibration is None or calibration is not current.get(old.name):
                await self._memory.drop(old.name)
                self._loaded.pop(old.name, None)
