"""/collections/{name}/delete: deletes several items, given by their ids or by a filter."""

from typing import Any
from urllib.parse import parse_qsl

from service.engine.errors import TooLarge
from service.formats.errors import Unusable
from service.http.call import Answer, Call
from service.json_types import json_type
from service.operations.items import DELETED_AT_ONCE, LISTED_IDS, DeletedItems, delete_by_filter
from service.operations.service import Service
from service.rest.answers import json_answer, unknown_keys
from service.rest.bodies import Body
from service.rest.collection_schemas import DeletedSeveral, DeleteParameters, ToDelete
from service.rest.item_bodies import check_id
from service.rest.parameters import BadParameter, read_parameters
from service.rest.paths import COLLECTION_PATH
from service.rest.registration import STORE_ERRORS, Router, add, describe_operation, json_content
from service.rest.requests import body_of, only_parameters, open_stored
from service.store.filters import Condition, parse_filter

router = Router()


async def delete(service: Service, call: Call) -> Answer:
    """Delete items: {"ids": [...]}, or {"filter": {...}} for every item that a search with this filter could find.

    Up to 10,000 items are deleted together or not at all; more, in the order of their ids, 10,000 at a time. The answer has
    their number and the first 1,000 ids. Ids that no item has are listed in `missing`. A filter with `ne` or
    `"exists": false` on a key that no item has would match every item: it gets 409 `unknown_key`.
    """
    if any(name == "filter" for name, _ in parse_qsl(call.query)):
        raise BadParameter('filter: send it in the JSON body, {"filter": {"label": 7}}, not in the query')
    body = only_parameters(await body_of(service, call))
    parameters = read_parameters(DeleteParameters, call.query, *body.parameters(DeleteParameters))
    chosen = _chosen(body, call.path["name"])
    name, inference = await open_stored(service, call, parameters)
    notes: dict[str, Any] = {}
    if isinstance(chosen, tuple):
        deleted = await delete_by_filter(service.store, name, chosen, inference.deadline, parameters.strict)
        notes = unknown_keys(deleted.unknown)
    else:
        found = await service.store.delete_ids(name, chosen, inference.deadline)
        deleted, there = DeletedItems(len(found.ids), found.ids[:LISTED_IDS], found.seq), set(found.ids)
        notes = {"missing": [id for id in chosen if id not in there]}
    return json_answer({"collection": name, "count": deleted.count, "ids": deleted.ids, **notes, "seq": deleted.seq})


def _chosen(body: Body, name: str) -> list[str] | tuple[Condition, ...]:
    """Return the ids, without repetitions, or the conditions. Raises Unusable, TooLarge, BadFilter."""
    ids, filter = body.values.get("ids"), body.values.get("filter")
    if (ids is None) == (filter is None):
        raise Unusable('send JSON with either {"ids": ["..."]} or {"filter": {"label": 7}}')
    if ids is None:
        conditions = parse_filter(filter)
        if not conditions:
            raise Unusable(f"the filter is empty and would delete every item; to do that, DELETE /collections/{name} instead")
        return conditions
    if not isinstance(ids, list):
        raise Unusable(f"ids must be a list of ids, not {json_type(ids)}")
    if len(ids) > DELETED_AT_ONCE:
        raise TooLarge(len(ids), DELETED_AT_ONCE)
    return list(dict.fromkeys(check_id(id, i) for i, id in enumerate(ids)))


add(
    router,
    "/collections/{name}/delete",
    ["POST"],
    delete,
    "Delete several items",
    describe_operation(
        DeleteParameters,
        json_content(DeletedSeveral),
        json_content(ToDelete, {"ids": ["made-up"]}),
        path=COLLECTION_PATH,
        errors=STORE_ERRORS,
    ),
    scope="store",
    label="items",
    name="delete_items",
    tag="deletion",
)
