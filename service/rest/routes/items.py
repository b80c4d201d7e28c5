"""/collections/{name}/items: what a collection holds; pictures are encoded as /encode does it."""

from functools import partial
from typing import Any

import orjson

from models.kinds.beside import Beside
from service.formats.errors import Unusable
from service.http.call import Answer, Call
from service.operations.items import add_items, page_of_items
from service.operations.service import Service
from service.rest.answers import json_answer, unknown_keys
from service.rest.collection_schemas import (
    Added,
    Deleted,
    InCollection,
    ItemPage,
    ItemsParameters,
    ListParameters,
    NewItems,
    PatchedItem,
    StoredItem,
)
from service.rest.item_bodies import LISTS_PER_ITEM, PARTS_PER_ITEM, check_id, items_of, unnumbered
from service.rest.metadata_bodies import patch_of
from service.rest.parameters import BadParameter, read_parameters
from service.rest.paths import COLLECTION_PATH, ITEM_PATH
from service.rest.registration import (
    BINARY,
    ERRORS,
    FORM_OF_PICTURES,
    PICTURE_EXAMPLE,
    PICTURES,
    STORE_ERRORS,
    Router,
    add,
    describe_operation,
    json_content,
)
from service.rest.requests import body_of, model_in, open_collection, open_stored, query_parameters
from service.rest.schemas import Parameters
from service.store.interface import Items

router = Router()


def describe_item(items: Items, i: int, include: frozenset[str]) -> dict[str, Any]:
    """Return an item as callers see it."""
    fields: dict[str, Any] = {"id": items.ids[i], "metadata": orjson.Fragment(items.metadata[i]), "seq": items.seqs[i]}
    if "mu" in include:
        fields["mu"] = items.mu[i]
    if "sigma" in include:
        fields["sigma"] = items.sigma[i] if items.has_sigma[i] else None
    return fields


async def post(service: Service, call: Call) -> Answer:
    """Add items: all of them or none, and durable when the answer comes. See `if_exists` for items whose ids exist.

    JSON; a form of pictures, perhaps with the fields `id` and `metadata` (JSON text) for each picture, in their order; one
    picture; or npy: mu (N, D), or mu and sigma (2, N, D). In a form without ids, file names become ids, except those that
    programs make up, such as "blob" and "image.jpg": these items get random ids. `id_column` and `metadata_columns` take
    those of rows from columns of a CSV. An item that replaces another and has no
    metadata leaves the other's as it is.
    """
    body = await body_of(service, call, LISTS_PER_ITEM, PARTS_PER_ITEM, takes_text=True)
    parameters = read_parameters(ItemsParameters, call.query, *body.parameters(ItemsParameters))
    collection, digest, inference = await open_collection(service, call, parameters)
    read = partial(items_of, body, collection.dim, parameters.id, model_in(service, collection), beside_of(parameters))
    with unnumbered(body.kind == "picture"):
        entries = await service.pipeline.offload(len(call.body), read)
        adding = service.pipeline, service.store, inference, collection, digest, entries, parameters.if_exists
        stored = await add_items(*adding)
    result = stored.result
    fields = {"collection": collection.name, "ids": stored.ids, "added": result.added, "replaced": result.replaced}
    skipped = {"skipped": result.skipped} if parameters.if_exists == "skip" else {}
    return json_answer({**fields, **skipped, "seq": result.seq}, collection, inference)


def beside_of(parameters: ItemsParameters) -> Beside | None:
    """Return the columns of ids and metadata that a request names, None if it names none."""
    more = parameters.metadata_columns
    if parameters.id_column is None and more is None:
        return None
    return Beside(parameters.id_column, tuple(name.strip() for name in (more or "").split(",") if name.strip()))


async def list_page(service: Service, call: Call) -> Answer:
    """List items in the order of their ids, a page at a time."""
    parameters = query_parameters(ListParameters, call)
    after = _cursor(parameters.cursor)
    name, inference = await open_stored(service, call, parameters)
    wanted = service.store, name, after, parameters.limit, parameters.filter, inference.deadline, parameters.strict
    page = await page_of_items(*wanted)
    shown = [describe_item(page.items, i, parameters.include) for i in range(page.count)]
    return json_answer({"items": shown, "cursor": page.cursor, **unknown_keys(page.items.unknown)})


def _cursor(text: str) -> str:
    try:
        return check_id(text) if text else ""
    except Unusable:
        raise BadParameter("cursor: send the cursor of the previous answer unchanged, or none for the first page") from None


async def get(service: Service, call: Call) -> Answer:
    """Show one item with its mu, sigma and metadata."""
    name, inference = await open_stored(service, call, query_parameters(Parameters, call))
    id = check_id(call.path["id"])
    item = await service.store.item(name, id, inference.deadline)
    return json_answer(describe_item(item, 0, frozenset(("mu", "sigma"))))


async def delete(service: Service, call: Call) -> Answer:
    """Delete one item."""
    name, inference = await open_stored(service, call, query_parameters(Parameters, call))
    id = check_id(call.path["id"])
    seq = await service.store.delete(name, id, inference.deadline)
    return json_answer({"id": id, "seq": seq})


async def patch(service: Service, call: Call) -> Answer:
    """Change the metadata of one item by a JSON merge patch (RFC 7396); its vectors and its picture stay.

    Keys with the value null are removed, objects are merged, and all other values replace the old ones. The body is
    `application/merge-patch+json` or `application/json`.
    """
    name, inference = await open_stored(service, call, read_parameters(Parameters, call.query))
    id, change = check_id(call.path["id"]), patch_of(call)
    result = await service.store.patch(name, id, change, inference.deadline)
    return json_answer({"id": id, "metadata": orjson.Fragment(result.metadata), "seq": result.seq})


ITEMS_EXAMPLE = {
    "items": [
        {"id": "ones/first", "image": PICTURE_EXAMPLE, "metadata": {"label": 1}},
        {"id": "made-up", "mu": [0.5] * 20, "sigma": [0.1] * 20, "metadata": {"label": 7}},
    ]
}
TEXTS = {"type": "array", "items": {"type": "string"}, "example": []}
FORM_OF_ITEMS = {
    **FORM_OF_PICTURES,
    "properties": {
        "image": {"type": "array", "items": BINARY["schema"]},
        "id": {**TEXTS, "description": "An id for each picture, in their order. An empty one counts as none."},
        "metadata": {**TEXTS, "description": "A JSON object for each picture, in their order. An empty text counts as none."},
    },
}
PATCH = {
    "schema": {"type": "object", "title": "MetadataPatch", "additionalProperties": True},
    "example": {"label": 1, "note": "the first one"},
}
PATCH_BODY = {"application/merge-patch+json": PATCH, "application/json": PATCH}

register = partial(add, router, scope="store", label="items", tag="items")
register(
    "/collections/{name}/items",
    ["POST"],
    post,
    "Add items",
    describe_operation(
        ItemsParameters,
        json_content(Added),
        {
            **json_content(NewItems, ITEMS_EXAMPLE),
            "multipart/form-data": {"schema": FORM_OF_ITEMS},
            "application/x-npy": BINARY,
            **PICTURES,
        },
        path=COLLECTION_PATH,
        errors=STORE_ERRORS,
    ),
    name="add_items",
)
register(
    "/collections/{name}/items",
    ["GET"],
    list_page,
    "Items of a collection",
    describe_operation(ListParameters, json_content(ItemPage), {}, path=COLLECTION_PATH, errors=(*ERRORS, 409)),
    name="list_items",
)
register(
    "/collections/{name}/items/{id:rest}",
    ["GET"],
    get,
    "One item",
    describe_operation(InCollection, json_content(StoredItem), {}, path=ITEM_PATH, errors=(*ERRORS, 409)),
    name="get_item",
)
register(
    "/collections/{name}/items/{id:rest}",
    ["DELETE"],
    delete,
    "Delete an item",
    describe_operation(InCollection, json_content(Deleted), {}, path=ITEM_PATH, errors=STORE_ERRORS),
    name="delete_item",
    tag="deletion",
)
register(
    "/collections/{name}/items/{id:rest}",
    ["PATCH"],
    patch,
    "Change the metadata of an item",
    describe_operation(InCollection, json_content(PatchedItem), PATCH_BODY, path=ITEM_PATH, errors=STORE_ERRORS),
    name="change_item",
)
