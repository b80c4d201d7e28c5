"""/interpolate: two ends, each a picture, a latent or an item; the frames of a path between them."""

from functools import partial
from typing import Any

from service.http.call import Answer, Call
from service.operations import interpolate as operations
from service.operations.service import Service
from service.rest.answers import pictures_answer
from service.rest.body_schemas import Ends
from service.rest.negotiation import Format, answer_format
from service.rest.parameters import check_count, read_parameters
from service.rest.points import LISTS_PER_POINT, ends_of, open_points
from service.rest.registration import BINARY, PICTURE_ANSWERS, PICTURE_EXAMPLE, Router, add, describe_operation, json_content
from service.rest.requests import body_of
from service.rest.scaling import choose_scale
from service.rest.schemas import InterpolateParameters

router = Router(tags=["inference"])

FORMATS: tuple[Format, ...] = ("json", "npy", "png", "webp", "gif")


async def interpolate(service: Service, call: Call) -> Answer:
    """Return the frames from start to end, both included. Pictures and stored items stand for the mu of their posteriors."""
    body = await body_of(service, call, LISTS_PER_POINT)
    given = body.parameters(InterpolateParameters)
    parameters = read_parameters(InterpolateParameters, call.query, *given)
    accept = call.headers.get("accept", "")
    form = answer_format(parameters.format, accept, FORMATS)
    inference, collection = await open_points(service, call, parameters)
    check_count("steps", parameters.steps, given, service.pipeline.max_items)
    scale = choose_scale(parameters, form, accept, parameters.steps, inference.model.shape)
    parse = partial(ends_of, body, inference.model.latent_dim, inference.model.name, collection)
    ends = await service.pipeline.offload(len(call.body), parse)
    frames = await operations.interpolate(
        service.pipeline, service.store, inference, ends, parameters.steps, parameters.method, collection
    )
    fields: dict[str, Any] = {"method": parameters.method}
    if "z" in parameters.include:
        fields["z"] = frames.z
    render = partial(pictures_answer, frames.pixels, form, inference, parameters, fields, scale=scale)
    return await service.pipeline.offload(frames.pixels.nbytes * scale**2, render)


EXAMPLE = {"start": {"image": PICTURE_EXAMPLE}, "end": {"z": [1.0] * 20}, "steps": 8, "method": "linear"}
FORM_OF_ENDS = {
    "type": "object",
    "required": ["start", "end"],
    "properties": {"start": BINARY["schema"], "end": BINARY["schema"]},
}


add(
    router,
    "/interpolate",
    ["POST"],
    interpolate,
    "Morph: frames of a path between two pictures or latents",
    describe_operation(
        InterpolateParameters,
        {**PICTURE_ANSWERS, "image/webp": BINARY, "image/gif": BINARY},
        {
            **json_content(Ends, EXAMPLE),
            "multipart/form-data": {"schema": FORM_OF_ENDS},
        },
    ),
    scope="infer",
    label="interpolate",
    name="interpolate",
    hot=True,
)
