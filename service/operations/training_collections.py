"""The training latents of each loaded model as a collection `training:NAME`, which can be read like any other.

They are those of the model's calibration. Knows nothing of HTTP.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from models.calibration import Calibration
from service.inference.catalog import Catalog
from service.inference.served_model import ServedModel
from service.operations.collection_model import new_collection
from service.operations.score import NoCalibration
from service.store.collection_names import TRAINING
from service.store.directions import Direction
from service.store.errors import NAMED
from service.store.filters import Condition
from service.store.interface import (
    Collection,
    Deleted,
    Found,
    IfExists,
    Items,
    LatentStore,
    Patched,
    ReadOnly,
    Search,
    StoreError,
    UnknownCollection,
    Upserted,
)
from service.store.snapshot import Snapshot, Wanted
from service.store.sqlite.memory import MemoryFile
from service.store.sqlite.store import SqliteStore

DESCRIPTION = "training latents of the model: those of its calibration"


class NoSuchModel(UnknownCollection):
    """The collection would have the training latents of a model that is not loaded."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        loaded = ", ".join(known[:NAMED])
        StoreError.__init__(
            self,
            f"there is no collection {name[:120]!r}: it would have the training latents of a loaded model, and the loaded "
            f"models are {loaded}; GET /collections?training=true lists all collections",
        )


class NoTrainingLatents(NoCalibration):
    """The collection would have the training latents of a model that has no calibration."""

    def __init__(self, name: str, model: str) -> None:
        super().__init__(model, f"there is no collection {name!r}: it would have the training latents of a calibration")


def training_collections(catalog: Catalog) -> list[Collection]:
    """Return the collections of the training latents of all loaded models that have some, in the order of their names."""
    return [_collection(name, model) for name, model in sorted(catalog.models.items()) if model.calibration is not None]


def _collection(name: str, model: ServedModel) -> Collection:
    """Return the collection as it is when it has been read. It is searched by the distance that was chosen for the model."""
    count = 0 if model.calibration is None else len(model.calibration.mu)
    return replace(new_collection(TRAINING + name, model), description=DESCRIPTION, count=count, seq=count)


def _items(calibration: Calibration) -> Items:
    """Return the latents as items; the order of their ids is that of the file. Each has its `label`, if there are labels."""
    count = len(calibration.mu)
    digits = len(str(count - 1))
    ids = [f"{i:0{digits}}" for i in range(count)]
    metadata = [b"{}"] * count
    if calibration.labels is not None:
        texts = [orjson.dumps({"label": name}) for name in calibration.label_names]
        metadata = [texts[label] for label in calibration.labels.tolist()]
    keys = frozenset() if calibration.labels is None else frozenset(("label",))
    return Items(ids, calibration.mu, calibration.sigma, np.ones(count, np.bool_), metadata, keys)


class TrainingStore(LatentStore):
    """A store that has, beside the collections of another one, the training latents of each loaded model.

    They are read into memory when they are first asked for, and those of models that are no longer loaded are dropped when
    others are read. A change of such a collection raises ReadOnly. All other methods raise NoSuchModel, NoTrainingLatents.
    """

    def __init__(self, store: LatentStore, catalog: Catalog) -> None:
        self._store, self._catalog = store, catalog
        # It needs no bound: a calibration has a bound, and is in memory anyway as long as its model is loaded.
        self._memory = SqliteStore(MemoryFile(), sys.maxsize)
        self._read: dict[str, tuple[Calibration, asyncio.Task[None]]] = {}
        self._turn = asyncio.Lock()  # held while training latents are read

    async def open(self) -> None:
        await self._store.open()

    def check(self) -> None:
        self._store.check()

    async def close(self) -> None:
        await self._store.close()
        await self._memory.close()

    async def _having(self, name: str) -> LatentStore:
        """Return the store that has the collection, after the training latents have been read if it has those."""
        if not name.startswith(TRAINING):
            return self._store
        model = self._catalog.models.get(name.removeprefix(TRAINING))
        if model is None:
            raise NoSuchModel(name, list(self._catalog.models))
        if model.calibration is None:
            raise NoTrainingLatents(name, model.name)
        calibration, reading = self._read.get(name, (None, None))
        if reading is None or calibration is not model.calibration:
            reading = asyncio.create_task(self._reads(name, model, model.calibration))
            reading.add_done_callback(lambda read: read.cancelled() or read.exception())  # though nobody may wait any more
            self._read[name] = model.calibration, reading
        await asyncio.shield(reading)  # others wait for it, too
        return self._memory

    async def _reads(self, name: str, model: ServedModel, calibration: Calibration) -> None:
        try:
            async with self._turn:
                await self._drop_all_but_loaded(name)
                items = await asyncio.to_thread(_items, calibration)
                await self._memory.create(_collection(model.name, model))
                await self._memory.upsert(name, model.digest, items)
        except BaseException:
            if name in self._read and self._read[name][0] is calibration:
                del self._read[name]  # the next request tries again
            raise

    async def _drop_all_but_loaded(self, name: str) -> None:
        """Drop the collections of models that are no longer loaded or were replaced, and the one that is to be read."""
        for one in await self._memory.collections():
            model = self._catalog.models.get(one.name.removeprefix(TRAINING))
            known = self._read.get(one.name)
            if one.name == name or model is None or known is None or model.calibration is not known[0]:
                await self._memory.drop(one.name)
                if one.name != name:
                    self._read.pop(one.name, None)

    def _to_change(self, name: str) -> LatentStore:
        """Return the store that has a collection which can be changed. Raises ReadOnly."""
        if name.startswith(TRAINING):
            raise ReadOnly(name)
        return self._store

    # --- changes

    async def create(self, collection: Collection) -> Collection:
        return await self._to_change(collection.name).create(collection)

    async def drop(self, name: str) -> Collection:
        return await self._to_change(name).drop(name)

    async def put_direction(self, name: str, digest: str, direction: Direction, number: int | None = None) -> None:
        await self._to_change(name).put_direction(name, digest, direction, number)

    async def delete_direction(self, name: str, direction: str) -> Direction:
        return await self._to_change(name).delete_direction(name, direction)

    async def upsert(self, name: str, digest: str, items: Items, if_exists: IfExists = "replace") -> Upserted:
        return await self._to_change(name).upsert(name, digest, items, if_exists)

    async def patch(self, name: str, id: str, patch: dict[str, Any]) -> Patched:
        return await self._to_change(name).patch(name, id, patch)

    async def delete_ids(self, name: str, ids: Sequence[str]) -> Deleted:
        return await self._to_change(name).delete_ids(name, ids)

    async def delete_matching(
        self, name: str, filter: tuple[Condition, ...], after: str = "", limit: int = 100, strict: bool = False
    ) -> Deleted:
        return await self._to_change(name).delete_matching(name, filter, after, limit, strict)

    # --- reads

    async def collections(self) -> list[Collection]:
        """Return all collections that callers have made, sorted by name."""
        return await self._store.collections()

    async def collection(self, name: str) -> Collection:
        return await (await self._having(name)).collection(name)

    async def directions(self, name: str, names: Sequence[str] | None = None, digest: str | None = None) -> list[Direction]:
        return await (await self._having(name)).directions(name, names, digest)

    async def get(self, name: str, ids: Sequence[str]) -> Items:
        return await (await self._having(name)).get(name, ids)

    async def picture(self, name: str, id: str) -> bytes:
        return await (await self._having(name)).picture(name, id)

    async def search(self, name: str, digest: str, search: Search) -> Found:
        return await (await self._having(name)).search(name, digest, search)

    async def scan(
        self, name: str, after: str = "", limit: int = 100, filter: tuple[Condition, ...] = (), strict: bool = False
    ) -> Items:
        return await (await self._having(name)).scan(name, after, limit, filter, strict)

    async def snapshots(
        self, name: str, wanted: Sequence[Wanted], known: Sequence[Snapshot | None], max_bytes: int
    ) -> list[Snapshot]:
        return await (await self._having(name)).snapshots(name, wanted, known, max_bytes)
