"""/collections/{name}/items: what a collection holds; pictures are encoded as /encode does it."""

from functools import partial
from typing import Any

import orjson

from service.formats.errors import BadInput, Unusable
from service.formats.pictures import Pictures
from service.http.call import Answer, Call
from service.inference.pipeline import Engine, Request
from service.operations.collection_model import digest_of, model_of
from service.rest.bodies import Body, read_body
from service.rest.collection_schemas import (
    ID_SCHEMA,
    Added,
    Deleted,
    ItemPage,
    ItemsParameters,
    ListParameters,
    NewItems,
    StoredItem,
)
from service.rest.item_bodies import LISTS_PER_ITEM, Entries, check_id, items_of
from service.rest.parameters import BadParameter, read_parameters
from service.rest.registration import (
    BINARY,
    ERRORS,
    FORM_OF_PICTURES,
    PICTURE_BODIES,
    PICTURE_EXAMPLE,
    Router,
    add,
    describe_operation,
    schema_of,
)
from service.rest.routes.collections import PATH, STORE_ERRORS, json_answer, name_of, without_body
from service.rest.routes.encode import open_request
from service.rest.schemas import Parameters
from service.store.interface import Collection, Items, UnknownItem

router = Router(tags=["latent store"])


async def read_entries(engine: Engine, call: Call) -> Body:
    """A body with items or queries. Raises what `read_body` does."""
    return await engine.offload(len(call.body), partial(read_body, call, engine.max_items, LISTS_PER_ITEM))


async def open_collection(engine: Engine, call: Call, parameters: Parameters) -> tuple[Collection, str, Request]:
    """(collection, digest of the vectors that come, request). Raises StoreError, ModelMismatch, ModelNotLoaded."""
    timing = open_request(engine, call, parameters.model_copy(update={"model": None}))
    with engine.reads.admit(1):
        collection = await engine.in_time(engine.store.collection(name_of(call)), timing.deadline)
    return collection, digest_of(engine, collection, parameters.model), timing


async def encode_entries(engine: Engine, entries: Entries, collection: Collection, request: Request) -> None:
    """Fill in the posteriors of what is a picture. Raises ModelNotLoaded, BadInput, BatcherError."""
    pictures = entries.pictures
    if not pictures:
        return
    request.model = model_of(engine, collection)
    encoded = [image for image in entries.images if image is not None]
    try:
        entries.encoded(await engine.encode(Pictures(encoded), request))
    except BadInput as error:
        if error.item is not None:
            error.item = pictures[error.item]  # of the pictures -> of the items
        raise


def describe_item(items: Items, i: int, include: frozenset[str]) -> dict[str, Any]:
    """What a caller sees of an item."""
    fields: dict[str, Any] = {"id": items.ids[i], "metadata": orjson.Fragment(items.metadata[i]), "seq": items.seqs[i]}
    if "mu" in include:
        fields["mu"] = items.mu[i]
    if "sigma" in include:
        fields["sigma"] = items.sigma[i] if items.has_sigma[i] else None
    return fields


async def post(engine: Engine, call: Call) -> Answer:
    """Add items, or replace those whose ids are there: all of them or none, and durable when the answer comes.

    JSON, a form of pictures whose file names become ids, one picture, or npy: mu (N, D), or mu and sigma (2, N, D).
    """
    body = await read_entries(engine, call)
    parameters = read_parameters(ItemsParameters, call.query, *body.parameters(ItemsParameters))
    collection, digest, request = await open_collection(engine, call, parameters)
    entries = await engine.offload(len(call.body), partial(items_of, body, collection.dim))
    with engine.writes.admit(entries.weight):
        await encode_entries(engine, entries, collection, request)
        items = entries.items()
        seq = await engine.in_time(engine.store.upsert(collection.name, digest, items), request.deadline, changes=True)
    return json_answer({"collection": collection.name, "ids": items.ids, "seq": seq}, collection, request)


async def list_page(engine: Engine, call: Call) -> Answer:
    """Items in the order of their ids, a page at a time."""
    without_body(call)
    parameters = read_parameters(ListParameters, call.query)
    request = open_request(engine, call, parameters)
    conditions, after = parameters.filter, _cursor(parameters.cursor)
    name = name_of(call)
    with engine.reads.admit(1):
        items = await engine.in_time(engine.store.scan(name, after, parameters.limit + 1, conditions), request.deadline)
    shown = min(len(items), parameters.limit)
    more = items.ids[shown - 1] if len(items) > shown else None
    page = [describe_item(items, i, parameters.include) for i in range(shown)]
    return json_answer({"items": page, "cursor": more})


def _cursor(text: str) -> str:
    try:
        return check_id(text) if text else ""
    except Unusable:
        raise BadParameter("cursor: not one that this service has given") from None


async def get(engine: Engine, call: Call) -> Answer:
    """One item with its mu, sigma and metadata."""
    without_body(call)
    request = open_request(engine, call, read_parameters(Parameters, call.query))
    name, id = name_of(call), check_id(call.path["id"])
    with engine.reads.admit(1):
        items = await engine.in_time(engine.store.get(name, [id]), request.deadline)
    if not items.ids:
        raise UnknownItem(name, id)
    return json_answer(describe_item(items, 0, frozenset(("mu", "sigma"))))


async def delete(engine: Engine, call: Call) -> Answer:
    """Delete one item."""
    without_body(call)
    request = open_request(engine, call, read_parameters(Parameters, call.query))
    name, id = name_of(call), check_id(call.path["id"])
    with engine.writes.admit(1):
        seq = await engine.in_time(engine.store.delete(name, id), request.deadline, changes=True)
    return json_answer({"id": id, "seq": seq})


ITEMS_EXAMPLE = {
    "items": [
        {"id": "ones/first", "image": PICTURE_EXAMPLE, "metadata": {"label": 1}},
        {"id": "made-up", "mu": [0.5] * 20, "sigma": [0.1] * 20},
    ]
}
ITEM_PATH = {**PATH, "id": {"schema": ID_SCHEMA, "example": "ones/first"}}
ITEM = {"application/json": {"schema": schema_of(StoredItem)}}

add(
    router,
    "/collections/{name}/items",
    ["POST"],
    post,
    "Add items",
    describe_operation(
        ItemsParameters,
        {"application/json": {"schema": schema_of(Added)}},
        {
            "application/json": {"schema": schema_of(NewItems), "example": ITEMS_EXAMPLE},
            "multipart/form-data": {"schema": FORM_OF_PICTURES},
            "application/x-npy": BINARY,
            "image/png": PICTURE_BODIES["image/png"],
        },
        path=PATH,
        errors=STORE_ERRORS,
    ),
    scope="store",
    label="items",
)
add(
    router,
    "/collections/{name}/items",
    ["GET"],
    list_page,
    "Items of a collection",
    describe_operation(
        ListParameters, {"application/json": {"schema": schema_of(ItemPage)}}, {}, path=PATH, errors=(*ERRORS, 409)
    ),
    scope="store",
    label="items",
)
add(
    router,
    "/collections/{name}/items/{id:path}",
    ["GET"],
    get,
    "One item",
    describe_operation(Parameters, ITEM, {}, path=ITEM_PATH),
    scope="store",
    label="items",
)
add(
    router,
    "/collections/{name}/items/{id:path}",
    ["DELETE"],
    delete,
    "Delete an item",
    describe_operation(
        Parameters, {"application/json": {"schema": schema_of(Deleted)}}, {}, path=ITEM_PATH, errors=STORE_ERRORS
    ),
    scope="store",
    label="items",
)
