"""/collections/{name}/items/{id}/picture: the original picture of an item, where the collection keeps them."""

import hashlib
from urllib.parse import quote

from service.formats.errors import Unusable
from service.formats.pictures import media_type_of
from service.http.call import Answer, Call
from service.operations.service import Service
from service.rest.answers import json_answer
from service.rest.collection_schemas import InCollection
from service.rest.etags import not_modified
from service.rest.item_bodies import check_id
from service.rest.paths import ITEM_PATH
from service.rest.registration import ERRORS, PICTURES, Router, add, describe_operation
from service.rest.requests import open_stored, query_parameters
from service.rest.routes.items import describe_item
from service.rest.schemas import Parameters
from service.store.interface import NoPicture, UnknownItem

router = Router()

PICTURE = "/picture"


async def get(service: Service, call: Call) -> Answer:
    """Return the original picture of an item, byte for byte, with an ETag.

    Only collections with `"keep": "picture"` have originals. If there is none, and an item has this whole path with
    /picture as its id, the answer is that item.
    """
    id = call.path["id"]
    name, inference = await open_stored(service, call, query_parameters(Parameters, call))
    try:
        data = await service.store.picture(name, check_id(id), inference.deadline)
    except (NoPicture, UnknownItem, Unusable) as error:
        try:
            item = await service.store.item(name, check_id(id + PICTURE), inference.deadline)
        except (UnknownItem, Unusable):
            raise error from None
        return json_answer(describe_item(item, 0, frozenset(("mu", "sigma"))))
    headers = {
        "etag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        "cache-control": "no-cache",
        # The encoded name has only letters, digits and percent signs, so it cannot break out of the header.
        "content-disposition": f"inline; filename*=UTF-8''{quote(id.rpartition('/')[2] or 'picture', safe='')}",
    }
    return not_modified(call, headers) or Answer(data, media_type_of(data), headers)


add(
    router,
    "/collections/{name}/items/{id:rest}/picture",
    ["GET"],
    get,
    "Original picture of an item",
    describe_operation(
        InCollection,
        PICTURES,
        {},
        path=ITEM_PATH,
        errors=(*ERRORS, 409),
    ),
    scope="store",
    label="items",
    name="get_picture",
    tag="items",
    tagged=True,
)
