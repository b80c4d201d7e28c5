"""/reconstruct: pictures in, what the model makes of them out."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats import pictures as codecs
from service.formats import png
from service.http.call import Answer, Call
from service.inference.pipeline import Engine
from service.rest.answers import answer, beside, pictures_answer
from service.rest.bodies import pictures_of, read_body
from service.rest.negotiation import answer_format
from service.rest.parameters import BadParameter, read_parameters
from service.rest.registration import PICTURE_ANSWERS, PICTURE_BODIES, PICTURE_EXAMPLE, Router, add, describe_operation
from service.rest.routes.encode import draw_from_posterior, open_request
from service.rest.schemas import Images, ReconstructParameters

router = Router(tags=["inference"])


async def reconstruct(engine: Engine, call: Call) -> Answer:
    """Means of the likelihood at z = mu, or at a seeded draw from the posterior (mode=sample)."""
    body = await engine.offload(len(call.body), partial(read_body, call, engine.max_items))
    parameters = read_parameters(ReconstructParameters, call.query, *body.parameters(ReconstructParameters))
    form = answer_format(parameters.format, call.headers.get("accept", ""), ("json", "npy", "png"))
    if parameters.compare and form != "png":
        raise BadParameter(f"compare puts originals into the PNG answer, not into {form}; ask for format=png")
    request = open_request(engine, call, parameters)
    originals: list[NDArray[Any]] = []
    rows = await engine.encode(pictures_of(body, request.model.shape), request, originals)
    z, fields, headers = np.ascontiguousarray(rows[:, 0]), dict[str, Any](), dict[str, str]()
    if parameters.mode == "sample":
        fields["seed"], z = draw_from_posterior(z, rows[:, 1], parameters.seed)
        headers["x-seed"] = str(fields["seed"])
    pixels = await engine.through(request.model.decode, z, request)

    def render() -> Answer:
        engine.tell_of_reconstructions(request.model, pixels, originals)
        if parameters.compare:
            compared = _compare_png(originals, codecs.to_uint8(pixels), parameters.layout)
            return answer(compared, "png", request, headers)
        return pictures_answer(pixels, form, request, parameters, fields, headers)

    return await engine.offload(pixels.nbytes, render)


def _compare_png(originals: list[NDArray[Any]], reconstructions: NDArray[np.uint8], layout: str) -> bytes:
    seen = np.concatenate(originals).transpose(0, 2, 3, 1)  # (N, H, W, C)
    return png.write(beside(codecs.to_uint8(seen) if seen.dtype == np.float32 else seen, reconstructions, layout))


add(
    router,
    "/reconstruct",
    ["POST"],
    reconstruct,
    "Pictures as the model sees them",
    describe_operation(
        ReconstructParameters,
        PICTURE_ANSWERS,
        {
            "application/json": {"schema": Images.model_json_schema(), "example": {"images": [PICTURE_EXAMPLE]}},
            **PICTURE_BODIES,
        },
    ),
    scope="infer",
    label="reconstruct",
)
