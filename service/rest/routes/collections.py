"""/collections: named sets of items that one model has encoded."""

from dataclasses import replace
from functools import partial
from heapq import merge
from typing import Any

from service.http.call import Answer, Call
from service.inference.served_model import ServedModel
from service.operations.collection_model import digest_of, distance_of, loaded_name, new_collection
from service.operations.items import KEEP
from service.operations.service import Service
from service.operations.training_collections import training_collections
from service.rest.answers import described_distance, json_answer
from service.rest.collection_schemas import (
    AllCollections,
    CollectionInfo,
    CollectionList,
    CollectionParameters,
    InCollection,
)
from service.rest.kinds import wire_of
from service.rest.parameters import BadParameter, read_parameters
from service.rest.paths import COLLECTION_PATH
from service.rest.registration import ERRORS, STORE_ERRORS, Router, add, describe_operation, json_content
from service.rest.requests import body_of, model_in, only_parameters, open_request, open_stored, query_parameters
from service.rest.schemas import Parameters
from service.store.interface import Collection, UnknownCollection
from service.store.names import check_name

router = Router()


def describe_collection(service: Service, collection: Collection) -> dict[str, Any]:
    """Return a collection as callers see it. `loaded_as` is there if its model is loaded, but not under the recorded name."""
    name = loaded_name(service.pipeline.catalog, collection)
    return {
        "name": collection.name,
        "model": collection.model,
        "digest": collection.digest,
        **({} if name in (None, collection.model) else {"loaded_as": name}),
        "latent_dim": collection.dim,
        **described_distance(collection.metric, collection.sigma_weight),
        "description": collection.description,
        "keep": collection.keep or "nothing",
        "read_only": collection.read_only,
        "count": collection.count,
        "seq": collection.seq,
    }


async def put(service: Service, call: Call) -> Answer:
    """Make a collection, or change metric, description and `keep` of one: what is not stated stays, and so does its model.

    A new one is searched by the metric that was chosen for its model (`search` in /models), unless a metric is stated.
    """
    body = only_parameters(await body_of(service, call))
    parameters = read_parameters(CollectionParameters, call.query, *body.parameters(CollectionParameters))
    name = call.path["name"]
    check_name(name, "collection")  # When an existing one is looked up, such a name is merely unknown.
    inference, catalog = open_request(service, call, parameters.model_copy(update={"model": None})), service.pipeline.catalog
    try:
        wanted = await service.store.collection(name, inference.deadline)
        if parameters.model:
            digest_of(catalog, wanted, parameters.model)  # Another model is refused.
            wanted = replace(wanted, model=parameters.model if parameters.model in catalog.models else wanted.model)
    except UnknownCollection:
        wanted = new_collection(name, catalog.get(parameters.model))
    description = wanted.description if parameters.description is None else parameters.description
    metric, sigma_weight = distance_of(wanted, parameters.metric, parameters.sigma_weight)
    wanted = replace(wanted, metric=metric, sigma_weight=sigma_weight, description=description, keep=parameters.keep)
    _check_keep(wanted, model_in(service, wanted))
    made = await service.store.create(wanted, inference.deadline)
    return json_answer(describe_collection(service, made), made)


def _check_keep(wanted: Collection, model: ServedModel | None) -> None:
    """Raise BadParameter if the originals of other data than pictures are to be kept."""
    if wanted.keep == KEEP and model is not None and not model.is_pictures:
        raise BadParameter(
            f"keep={KEEP} keeps the files of pictures, but {model.name!r} is a model of {wire_of(model).things}, of which "
            "latents and metadata are stored, not the originals: leave keep out, and put what you need into ids or metadata"
        )


async def list_all(service: Service, call: Call) -> Answer:
    """List all collections, or those of one model, in the order of their names.

    With `training=true` those of training latents are among them, one of each loaded model that has a calibration.
    """
    parameters = query_parameters(AllCollections, call)
    inference = open_request(service, call, parameters)
    found = await service.store.collections(inference.deadline)
    if parameters.training:
        training = training_collections(service.pipeline.catalog)
        found = list(merge(found, training, key=lambda collection: collection.name))  # both are sorted
    if parameters.model is not None:
        found = [collection for collection in found if collection.digest == inference.model.digest]
    return json_answer({"collections": [describe_collection(service, collection) for collection in found]})


async def get(service: Service, call: Call) -> Answer:
    """Show one collection: its model, its metric, and how many items it has."""
    name, inference = await open_stored(service, call, query_parameters(Parameters, call))
    found = await service.store.collection(name, inference.deadline)
    return json_answer(describe_collection(service, found), found)


async def delete(service: Service, call: Call) -> Answer:
    """Delete a collection with all its items; the answer is what it was."""
    name, inference = await open_stored(service, call, query_parameters(Parameters, call))
    gone = await service.store.drop(name, inference.deadline)
    return json_answer(describe_collection(service, gone), gone)


INFO = json_content(CollectionInfo)
EXAMPLE = {"model": "mnist", "metric": "w2", "sigma_weight": 3, "description": "handwritten digits", "keep": "picture"}

register = partial(add, router, scope="store", label="collections", tag="collections")
register(
    "/collections",
    ["GET"],
    list_all,
    "All collections",
    describe_operation(AllCollections, json_content(CollectionList), {}),
    name="list_collections",
)
register(
    "/collections/{name}",
    ["PUT"],
    put,
    "Make a collection",
    describe_operation(
        CollectionParameters,
        INFO,
        json_content(CollectionParameters, EXAMPLE),
        body_required=False,
        path=COLLECTION_PATH,
        errors=STORE_ERRORS,
    ),
    name="make_collection",
)
register(
    "/collections/{name}",
    ["GET"],
    get,
    "One collection",
    describe_operation(InCollection, INFO, {}, path=COLLECTION_PATH, errors=(*ERRORS, 409)),
    name="get_collection",
)
register(
    "/collections/{name}",
    ["DELETE"],
    delete,
    "Delete a collection",
    describe_operation(InCollection, INFO, {}, path=COLLECTION_PATH, errors=STORE_ERRORS),
    name="delete_collection",
    tag="deletion",
)
