"""/reconstruct: pictures in, what the model makes of them out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats import pictures as codecs
from service.formats import png
from service.http.call import Answer, Call
from service.operations import reconstruct as operations
from service.operations.service import Service
from service.rest.answers import answer, base64_bytes, pictures_answer
from service.rest.arrangement import beside, enlarge
from service.rest.bodies import pictures_of
from service.rest.body_schemas import ReconstructionsAnswer
from service.rest.negotiation import answer_format
from service.rest.parameters import BadParameter, read_parameters
from service.rest.registration import PICTURE_ANSWERS, PICTURE_BODIES, Router, add, describe_operation, json_content
from service.rest.requests import body_of, open_request
from service.rest.scaling import choose_scale
from service.rest.schemas import ReconstructParameters

router = Router(tags=["inference"])


async def reconstruct(service: Service, call: Call) -> Answer:
    """Encode pictures, and decode mu, or a draw from the posterior with the seed (mode=sample).

    With pixels=sample, the pixels are drawn from the likelihood with the same seed. A picture that is reconstructed badly may
    be an anomaly.
    """
    body = await body_of(service, call)
    parameters = read_parameters(ReconstructParameters, call.query, *body.parameters(ReconstructParameters))
    accept = call.headers.get("accept", "")
    form = answer_format(parameters.format, accept, ("json", "npy", "png"))
    if parameters.compare and form == "npy":
        raise BadParameter(
            "compare adds the originals to PNG and JSON, but the answer is npy; ask for format=png or format=json"
        )
    inference = open_request(service, call, parameters)
    pictures = pictures_of(body, inference.model.shape, inference.preprocessing.range is not None)
    scale = choose_scale(parameters, form, accept, len(pictures), inference.model.shape, parameters.compare)
    made = await operations.reconstruct(
        service.pipeline, inference, pictures, parameters.mode, parameters.seed, parameters.pixels
    )
    drawn = made.seed is not None
    fields = {"seed": made.seed} if drawn else {}
    headers = {"x-seed": str(made.seed)} if drawn else {}

    def render() -> Answer:
        if not parameters.compare:
            return pictures_answer(made.decoded, form, inference, parameters, fields, headers, scale)
        originals = _bytes_of(made.originals)
        if form == "json":
            compared = {**fields, "originals": base64_bytes(originals)}
            return pictures_answer(made.decoded, form, inference, parameters, compared, headers, scale)
        joined = beside(originals, codecs.to_uint8(made.decoded), parameters.layout)
        return answer(png.write(enlarge(joined, scale)), form, inference, headers)

    return await service.pipeline.offload(made.decoded.nbytes * scale**2, render)


def _bytes_of(originals: list[NDArray[Any]]) -> NDArray[np.uint8]:
    seen = np.concatenate(originals).transpose(0, 2, 3, 1)  # (N, H, W, C)
    return codecs.to_uint8(seen) if seen.dtype == np.float32 else seen


add(
    router,
    "/reconstruct",
    ["POST"],
    reconstruct,
    "Pictures encoded and decoded again",
    describe_operation(ReconstructParameters, {**PICTURE_ANSWERS, **json_content(ReconstructionsAnswer)}, PICTURE_BODIES),
    scope="infer",
    label="reconstruct",
    name="reconstruct",
)
