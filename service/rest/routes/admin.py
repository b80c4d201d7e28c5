"""/admin: models loaded, reloaded and unloaded while others are served. Offered only where the settings say so."""

from collections.abc import Awaitable

from service.formats.json_values import json_bytes
from service.http.call import Answer, Call
from service.inference.catalog import Catalog, Change, SeveralWorkers
from service.operations.collection_model import warn_of_missing_models
from service.operations.service import Service
from service.rest.model_schemas import ModelChange
from service.rest.registration import Router, add, describe_operation, json_content
from service.rest.requests import query_parameters
from service.rest.schemas import NoParameters

router = Router(tags=["admin"])


def catalog_of(service: Service, call: Call) -> tuple[Catalog, str]:
    """Return the catalog to be changed and the name of a model. Raises BadParameter, Unsupported, SeveralWorkers."""
    query_parameters(NoParameters, call)
    if service.workers > 1:
        raise SeveralWorkers(service.workers)
    return service.pipeline.catalog, call.path["name"]


async def after(service: Service, changing: Awaitable[Change]) -> Answer:
    """Return the answer to a change, once it is made; the log then says which collections have no model any more."""
    change = await changing
    await warn_of_missing_models(service.pipeline.catalog, service.store.store)
    fields = ModelChange(
        model=change.name, digest=change.digest, previous=change.previous, seconds=round(change.seconds, 3)
    ).model_dump()
    return Answer(json_bytes(fields), "application/json", {"cache-control": "no-store"})


async def load(service: Service, call: Call) -> Answer:
    """Bring one more model onto the device, beside live traffic: until it is warm and checked, nobody sees it."""
    catalog, name = catalog_of(service, call)
    return await after(service, catalog.add(name))


async def reload(service: Service, call: Call) -> Answer:
    """Take what the model's directory holds now. Whoever asks after this has answered gets the new model.

    It is warmed up beside the old one, must give its golden answer where the checkpoint has one, and takes the old one's
    place at once; requests in flight finish on the old one. When anything fails, or the caller hangs up, the old one stays.
    """
    catalog, name = catalog_of(service, call)
    return await after(service, catalog.replace(name))


async def unload(service: Service, call: Call) -> Answer:
    """Forget a model, but never the default one; requests in flight finish."""
    catalog, name = catalog_of(service, call)
    return await after(service, catalog.remove(name))


ERRORS = (403, 404, 409, 415, 422, 500, 503)
PATH = {"name": {"schema": {"type": "string"}, "example": "fashion-mnist"}}

# In the order in which the examples of the page work: a model that is unloaded can be loaded again.
for operation, summary in (
    (reload, "Replace a model by what its directory holds now"),
    (unload, "Unload a model"),
    (load, "Load a model"),
):
    path = f"/admin/models/{{name}}/{operation.__name__}"
    details = describe_operation(NoParameters, json_content(ModelChange), {}, path=PATH, errors=ERRORS)
    add(router, path, ["POST"], operation, summary, details, scope="admin", label="admin", name=f"{operation.__name__}_model")
