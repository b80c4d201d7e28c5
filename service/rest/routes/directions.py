"""/collections/{name}/directions: named directions in the latent space of a collection, such as from "no smile" to "smile"."""

from functools import partial
from typing import Any

from service.formats.errors import Unsupported
from service.http.call import Answer, Call
from service.operations.directions import make_direction
from service.operations.service import Service
from service.rest.answers import json_answer
from service.rest.bodies import A_KIND
from service.rest.collection_schemas import InCollection
from service.rest.direction_bodies import sides_of
from service.rest.direction_schemas import (
    DirectionInfo,
    DirectionList,
    DirectionParameters,
    Sides,
)
from service.rest.kinds import PICTURES, wire_of
from service.rest.parameters import read_parameters
from service.rest.paths import COLLECTION_PATH, DIRECTION_PATH
from service.rest.registration import ERRORS, STORE_ERRORS, Router, add, describe_operation, json_content
from service.rest.requests import body_of, model_in, open_collection, open_stored, query_parameters
from service.store.directions import Direction, Side
from service.store.names import check_name

router = Router()


def describe_direction(collection: str, direction: Direction, with_vector: bool = True) -> dict[str, Any]:
    """Return a direction as callers see it."""
    return {
        "name": direction.name,
        "collection": collection,
        "method": direction.method,
        "orthogonal_to": direction.orthogonal_to,
        "positive": _describe_side(direction.positive),
        "negative": _describe_side(direction.negative),
        "auc": direction.auc,
        "unit": direction.unit,
        "seq": direction.seq,
        **({"vector": direction.vector} if with_vector else {}),
    }


def _describe_side(side: Side) -> dict[str, Any]:
    filter = {} if side.filter is None else {"filter": side.filter}
    return {"source": side.source, **filter, "found": side.found, "n": side.n}


async def put(service: Service, call: Call) -> Answer:
    """Make a direction from two sets of items, and keep it; one that has this name is replaced.

    Each side is a filter, `{"ids": [...]}`, `{"images": [...]}` or `{"mu": [[...]]}`. An item may be on one side only, each
    side needs at least two, and of more than 10,000 a sample is used, which depends on their ids alone. A filter with a key
    that no item has is refused. `auc` says how well the direction tells items apart that were not used for it.
    """
    body = await body_of(service, call)
    if body.kind not in ("json", "empty"):
        raise Unsupported(f"send the two sides as JSON, not as {A_KIND[body.kind]}")
    parameters = read_parameters(DirectionParameters, call.query, *body.parameters(DirectionParameters))
    check_name(call.path["direction"], "direction")
    collection, _, inference = await open_collection(service, call, parameters)
    model = model_in(service, collection)
    wire = PICTURES if model is None else wire_of(model)
    sides = await service.pipeline.offload(len(call.body), partial(sides_of, body, collection.dim, wire))
    wanted = call.path["direction"], sides, parameters.method, sorted(parameters.orthogonal_to)
    made = await make_direction(service.pipeline, service.store, inference, collection, *wanted)
    return json_answer(describe_direction(collection.name, made), collection, inference)


async def list_all(service: Service, call: Call) -> Answer:
    """List the directions of a collection in the order of their names, without their vectors."""
    name, inference = await open_stored(service, call, query_parameters(InCollection, call))
    found = await service.store.directions(name, inference.deadline)
    return json_answer({"directions": [describe_direction(name, one, with_vector=False) for one in found]})


async def get(service: Service, call: Call) -> Answer:
    """Show one direction with its vector."""
    name, inference = await open_stored(service, call, query_parameters(InCollection, call))
    found = await service.store.direction(name, call.path["direction"], inference.deadline)
    return json_answer(describe_direction(name, found))


async def delete(service: Service, call: Call) -> Answer:
    """Delete a direction; the answer is what it was."""
    name, inference = await open_stored(service, call, query_parameters(InCollection, call))
    gone = await service.store.delete_direction(name, call.path["direction"], inference.deadline)
    return json_answer(describe_direction(name, gone))


# Made of latents, so that it works in a collection without items.
EXAMPLE = {
    "positive": {"mu": [[1.0, 0.5] + [0.0] * 18, [2.0, 0.5] + [0.0] * 18]},
    "negative": {"mu": [[-1.0, 0.5] + [0.0] * 18, [-2.0, 0.5] + [0.0] * 18]},
    "method": "mean_difference",
}
INFO = json_content(DirectionInfo)

register = partial(add, router, scope="store", label="directions", tag="directions")
register(
    "/collections/{name}/directions",
    ["GET"],
    list_all,
    "Directions of a collection",
    describe_operation(InCollection, json_content(DirectionList), {}, path=COLLECTION_PATH, errors=(*ERRORS, 409)),
    name="list_directions",
)
register(
    "/collections/{name}/directions/{direction}",
    ["PUT"],
    put,
    "Make a direction",
    describe_operation(DirectionParameters, INFO, json_content(Sides, EXAMPLE), path=DIRECTION_PATH, errors=STORE_ERRORS),
    name="make_direction",
)
register(
    "/collections/{name}/directions/{direction}",
    ["GET"],
    get,
    "One direction",
    describe_operation(InCollection, INFO, {}, path=DIRECTION_PATH, errors=(*ERRORS, 409)),
    name="get_direction",
)
register(
    "/collections/{name}/directions/{direction}",
    ["DELETE"],
    delete,
    "Delete a direction",
    describe_operation(InCollection, INFO, {}, path=DIRECTION_PATH, errors=STORE_ERRORS),
    name="delete_direction",
    tag="deletion",
)
