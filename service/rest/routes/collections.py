"""/collections: named sets of items that one model has encoded."""

from functools import partial
from typing import Any

from service.formats.errors import Unsupported, Unusable
from service.formats.json_values import json_bytes
from service.http.call import Answer, Call
from service.inference.pipeline import Engine, Request
from service.observe.printable import header_value
from service.rest.answers import timing_of
from service.rest.bodies import read_body
from service.rest.collection_schemas import NAME_SCHEMA, CollectionInfo, CollectionParameters
from service.rest.parameters import read_parameters
from service.rest.registration import ERRORS, Router, add, describe_operation, schema_of
from service.rest.routes.encode import open_request
from service.rest.schemas import Parameters
from service.store.interface import COLLECTION_NAME, Collection, UnknownCollection

router = Router(tags=["latent store"])


def describe_collection(collection: Collection) -> dict[str, Any]:
    """What a caller sees of a collection."""
    return {
        "name": collection.name,
        "model": collection.model,
        "digest": collection.digest,
        "latent_dim": collection.dim,
        "metric": collection.metric,
        "description": collection.description,
        "count": collection.count,
        "seq": collection.seq,
    }


def json_answer(fields: dict[str, Any], collection: Collection | None = None, request: Request | None = None) -> Answer:
    """JSON, with the collection's model, and what encoding and decoding took."""
    headers = {} if collection is None else {"x-model": header_value(collection.label)}
    if request is not None:
        headers["server-timing"] = timing_of(request)
    return Answer(json_bytes(fields), "application/json", headers)


def name_of(call: Call) -> str:
    """The collection's name in the path. Raises UnknownCollection for one that no collection can have."""
    name = call.path["name"]
    if not COLLECTION_NAME.fullmatch(name):
        raise UnknownCollection(name[:120])
    return name


def without_body(call: Call) -> None:
    """Raises Unsupported when there is one."""
    if call.body:
        raise Unsupported("this takes no body; parameters come in the query")


async def put(engine: Engine, call: Call) -> Answer:
    """Make a collection, or change the metric and the description of one; its model stays what it was."""
    body = await engine.offload(len(call.body), partial(read_body, call, engine.max_items))
    if body.kind not in ("empty", "json"):
        raise Unsupported(f"parameters come in the query or as JSON, not as a {body.kind}")
    parameters = read_parameters(CollectionParameters, call.query, *body.parameters(CollectionParameters))
    name = call.path["name"]
    if not COLLECTION_NAME.fullmatch(name):  # else than when one is looked for
        raise Unusable(f"{name[:120]!r} is no name for a collection: up to 100 letters, digits, '.', '_' and '-' make one")
    request = open_request(engine, call, parameters)
    model = request.model
    wanted = Collection(
        name,
        model.name,
        model.digest,
        model.manifest.model.latent_dim,
        parameters.metric,
        parameters.description,
    )
    with engine.writes.admit(1):
        made = await engine.in_time(engine.store.create(wanted), request.deadline, changes=True)
    return json_answer(describe_collection(made), made)


async def list_all(engine: Engine, call: Call) -> Answer:
    """All collections, in the order of their names."""
    without_body(call)
    request = open_request(engine, call, read_parameters(Parameters, call.query))
    with engine.reads.admit(1):
        found = await engine.in_time(engine.store.collections(), request.deadline)
    return json_answer({"collections": [describe_collection(collection) for collection in found]})


async def get(engine: Engine, call: Call) -> Answer:
    """One collection: its model, its metric, and how many items it has."""
    without_body(call)
    request = open_request(engine, call, read_parameters(Parameters, call.query))
    with engine.reads.admit(1):
        found = await engine.in_time(engine.store.collection(name_of(call)), request.deadline)
    return json_answer(describe_collection(found), found)


async def delete(engine: Engine, call: Call) -> Answer:
    """Delete a collection with all its items; the answer is what it was."""
    without_body(call)
    request = open_request(engine, call, read_parameters(Parameters, call.query))
    with engine.writes.admit(1):
        gone = await engine.in_time(engine.store.drop(name_of(call)), request.deadline, changes=True)
    return json_answer(describe_collection(gone), gone)


PATH = {"name": {"schema": NAME_SCHEMA, "example": "digits"}}
STORE_ERRORS = (*ERRORS, 403, 409, 507)
INFO = {"application/json": {"schema": schema_of(CollectionInfo)}}
ALL = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["collections"],
            "properties": {"collections": {"type": "array", "items": schema_of(CollectionInfo)}},
        }
    }
}

add(
    router,
    "/collections",
    ["GET"],
    list_all,
    "All collections",
    describe_operation(Parameters, ALL, {}),
    scope="store",
    label="collections",
)
add(
    router,
    "/collections/{name}",
    ["PUT"],
    put,
    "Make a collection",
    describe_operation(
        CollectionParameters,
        INFO,
        {
            "application/json": {
                "schema": schema_of(CollectionParameters),
                "example": {"model": "mnist", "metric": "l2", "description": "handwritten digits"},
            }
        },
        body_required=False,
        path=PATH,
        errors=STORE_ERRORS,
    ),
    scope="store",
    label="collections",
)
add(
    router,
    "/collections/{name}",
    ["GET"],
    get,
    "One collection",
    describe_operation(Parameters, INFO, {}, path=PATH),
    scope="store",
    label="collections",
)
add(
    router,
    "/collections/{name}",
    ["DELETE"],
    delete,
    "Delete a collection",
    describe_operation(Parameters, INFO, {}, path=PATH, errors=STORE_ERRORS),
    scope="store",
    label="collections",
)
