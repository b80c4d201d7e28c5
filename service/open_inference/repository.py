"""/v2/repository: which models there are, and models loaded and unloaded while others are served."""

import asyncio
from collections.abc import Mapping
from typing import Any

from service.formats.json_values import json_object
from service.http.call import Answer, Call
from service.inference.catalog import Catalog, CatalogError, SeveralWorkers, find
from service.observe.printable import short
from service.open_inference import names
from service.open_inference.answers import VERSION, json_answer
from service.open_inference.errors import AdminOff, BadRequest
from service.open_inference.operations import OPERATIONS
from service.open_inference.parameters import Parameters, check_keys
from service.operations.collection_model import warn_of_missing_models
from service.operations.service import Service

READY, UNAVAILABLE = "READY", "UNAVAILABLE"
FAILED = "it could not be loaded; the log says why"
NOT_LOADED = "it is not loaded"


async def index(service: Service, call: Call) -> Answer:
    """List the models that are loaded, and with ready=false those that could be."""
    values = json_object(call.body) if call.body else {}
    check_keys(values, ("ready",), "the request")
    ready = values.get("ready", False)
    if not isinstance(ready, bool):
        raise BadRequest(f"ready must be true or false, not {short(ready)}")
    catalog = service.pipeline.catalog
    found: list[dict[str, str]] = [_entry(name, READY) for name, _, _ in names.all_names(catalog)]
    if not ready:
        for name in await asyncio.to_thread(_directories, catalog):
            if name not in catalog.models:
                reason = FAILED if name in catalog.failed else NOT_LOADED
                found += [_entry(f"{name}.{operation}", UNAVAILABLE, reason) for operation in OPERATIONS]
    return json_answer(found)


def _entry(name: str, state: str, reason: str = "") -> dict[str, str]:
    return {"name": name, "version": VERSION, "state": state, "reason": reason}


def _directories(catalog: Catalog) -> tuple[str, ...]:
    try:
        return find(catalog.directory)
    except CatalogError:  # The directory is empty, or gone, since the models were loaded.
        return ()


class Repository:
    """Loads and unloads models, if the settings allow it."""

    def __init__(self, allowed: bool) -> None:
        self._allowed = allowed

    async def load(self, service: Service, call: Call) -> Answer:
        """Load a model with all its operations, or load it again; requests in flight finish on the old one."""
        catalog, name = self._opened(service, call)
        _parameters(call, ())
        change = await (catalog.replace(name) if name in catalog.models else catalog.add(name))
        await warn_of_missing_models(catalog, service.store.store)
        return json_answer({"model_name": call.path["model"], "loaded_model": change.name, "digest": change.digest})

    async def unload(self, service: Service, call: Call) -> Answer:
        """Forget a model with all its operations, but never the default one; requests in flight finish."""
        catalog, name = self._opened(service, call)
        _parameters(call, ("unload_dependents",)).flag("unload_dependents")  # No model depends on another one.
        change = await catalog.remove(name)
        await warn_of_missing_models(catalog, service.store.store)
        return json_answer({"model_name": call.path["model"], "unloaded_model": change.name, "digest": change.previous})

    def _opened(self, service: Service, call: Call) -> tuple[Catalog, str]:
        """Return the catalog to be changed, and the name of a model in it. Raises AdminOff, SeveralWorkers."""
        if not self._allowed:
            raise AdminOff
        if service.workers > 1:
            raise SeveralWorkers(service.workers)
        return service.pipeline.catalog, names.loadable(call.path["model"])


def _parameters(call: Call, known: tuple[str, ...]) -> Parameters:
    """Return the parameters in the body. Raises BadRequest for others, such as `config` and files: models have their own."""
    values: Mapping[str, Any] = json_object(call.body) if call.body else {}
    check_keys(values, ("parameters",), "the request")
    given = values.get("parameters") or {}
    if isinstance(given, dict) and any(name == "config" or name.startswith("file:") for name in given):
        raise BadRequest("models are loaded from the models' directory; config and files cannot be sent")
    return Parameters(given, "the request", known)
