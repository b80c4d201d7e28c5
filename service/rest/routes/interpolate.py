"""/interpolate: two ends, each a picture or a latent; the frames of a path between them."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats.pictures import Pictures
from service.http.call import Answer, Call
from service.inference.pipeline import Engine, Request
from service.inference.served_model import Floats
from service.latents import paths as latents
from service.rest.answers import pictures_answer
from service.rest.bodies import ends_of, read_body
from service.rest.negotiation import Format, answer_format
from service.rest.parameters import check_count, read_parameters
from service.rest.registration import BINARY, PICTURE_ANSWERS, PICTURE_EXAMPLE, Router, add, describe_operation
from service.rest.routes.encode import open_request
from service.rest.schemas import End, InterpolateParameters

router = Router(tags=["inference"])

FORMATS: tuple[Format, ...] = ("json", "npy", "png", "webp", "gif")


async def interpolate(engine: Engine, call: Call) -> Answer:
    """Frames from start to end, both included; a picture's end is its posterior's mu."""
    body = await engine.offload(len(call.body), partial(read_body, call, engine.max_items))
    given = body.parameters(InterpolateParameters)
    parameters = read_parameters(InterpolateParameters, call.query, *given)
    form = answer_format(parameters.format, call.headers.get("accept", ""), FORMATS)
    request = open_request(engine, call, parameters)
    check_count("steps", parameters.steps, given, engine.max_items)
    dim = request.model.manifest.model.latent_dim
    ends = await engine.offload(len(call.body), partial(ends_of, body, dim))
    start, end = await _means(engine, ends, request)
    z = latents.path(start, end, parameters.steps, parameters.method)
    pixels = await engine.through(request.model.decode, z, request)
    fields: dict[str, Any] = {"method": parameters.method}
    if "z" in parameters.include:
        fields["z"] = z
    render = partial(pictures_answer, pixels, form, request, parameters, fields)
    return await engine.offload(pixels.nbytes, render)


async def _means(engine: Engine, ends: tuple[Pictures | NDArray[np.float32], ...], request: Request) -> tuple[Floats, Floats]:
    """Latents of both ends, (D,) each; those that are pictures share one block."""
    encoded = [picture for end in ends if isinstance(end, Pictures) for picture in end.encoded]
    mu = iter(await engine.encode(Pictures(encoded), request) if encoded else ())
    start, end = (next(mu)[0] if isinstance(end, Pictures) else end[0] for end in ends)
    return start, end


ENDS = {
    "type": "object",
    "required": ["start", "end"],
    "properties": {"start": End.model_json_schema(), "end": End.model_json_schema()},
}

add(
    router,
    "/interpolate",
    ["POST"],
    interpolate,
    "Frames of a path between two pictures or latents",
    describe_operation(
        InterpolateParameters,
        {**PICTURE_ANSWERS, "image/webp": BINARY, "image/gif": BINARY},
        {
            "application/json": {
                "schema": ENDS,
                "example": {"start": {"image": PICTURE_EXAMPLE}, "end": {"z": [1.0] * 20}, "steps": 8, "method": "linear"},
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["start", "end"],
                    "properties": {"start": BINARY["schema"], "end": BINARY["schema"]},
                }
            },
        },
    ),
    scope="infer",
    label="interpolate",
)
