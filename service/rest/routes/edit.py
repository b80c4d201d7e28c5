"""/edit: pictures, latents or items in; moved along named directions, their pictures out."""

from functools import partial
from typing import Any

from service.http.call import Answer, Call
from service.latents import noise as seeds
from service.operations import edit as operations
from service.operations.service import Service
from service.rest.answers import items_answer
from service.rest.edit_schemas import EditBody, EditParameters
from service.rest.kinds import cost_of, format_of
from service.rest.parameters import BadParameter, read_parameters
from service.rest.points import LISTS_PER_POINT, open_points, points_of
from service.rest.registration import (
    PICTURE_ANSWERS,
    PICTURE_BODIES,
    PICTURE_EXAMPLE,
    STORE_ERRORS,
    Router,
    add,
    describe_operation,
    json_content,
)
from service.rest.requests import body_of
from service.rest.scaling import choose_scale

router = Router()


async def edit(service: Service, call: Call) -> Answer:
    """Move pictures along directions of a collection: `{"directions": {"smile": 1.5}, "keep": ["glasses"]}`.

    Send pictures as to /encode, latents as to /decode, or `points`. Amounts are in standard deviations, see `unit` of a
    direction. `keep` names directions along which nothing changes: the part of the edit along them is left out. The answer
    is that of /decode.
    """
    body = await body_of(service, call, LISTS_PER_POINT, takes_text=True)
    parameters = read_parameters(EditParameters, call.query, *body.parameters(EditParameters))
    if not parameters.directions:
        raise BadParameter('directions is missing: send {"directions": {"smile": 1.5}} or directions=smile:1.5')
    accept = call.headers.get("accept", "")
    inference, collection = await open_points(service, call, parameters)
    form = format_of(inference.model, parameters.format, accept, view=parameters.view)
    if collection is None:
        raise BadParameter("collection is missing: name the collection that has the directions")
    points = await service.pipeline.offload(len(call.body), partial(points_of, body, inference, collection))
    scale = choose_scale(parameters, form, accept, len(points), inference.model.shape)
    fields: dict[str, Any] = {}
    headers: dict[str, str] = {}
    seed = None
    if parameters.pixels == "sample":
        seed = seeds.draw_seed() if parameters.seed is None else parameters.seed
        fields, headers = {"seed": seed}, {"x-seed": str(seed)}
    elif inference.stepping.temperature:
        seed_of_steps = inference.stepping.seed
        fields, headers = {"seed": seed_of_steps}, {"x-seed": str(seed_of_steps)}
    wanted = parameters.directions, sorted(parameters.keep), seed
    edited = await operations.edit(service.pipeline, service.store, inference, collection, points, *wanted)
    if "z" in parameters.include:
        fields["z"] = edited.z
    render = partial(items_answer, edited.decoded, form, inference, parameters, fields, headers, scale)
    return await service.pipeline.offload(cost_of(inference, edited.decoded, form, parameters.view, scale), render)


EXAMPLE = {"images": [PICTURE_EXAMPLE], "collection": "example", "directions": {"smile": 1.5}}

add(
    router,
    "/edit",
    ["POST"],
    edit,
    "Move pictures or latents along directions",
    describe_operation(
        EditParameters,
        PICTURE_ANSWERS,
        {**PICTURE_BODIES, **json_content(EditBody, EXAMPLE)},
        errors=STORE_ERRORS,
    ),
    scope="infer",
    label="edit",
    name="edit",
    tag="directions",
)
