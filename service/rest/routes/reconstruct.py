"""/reconstruct: pictures in, what the model makes of them out."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats import pictures as codecs
from service.formats import png
from service.formats.raw_items import RawItems
from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.operations import reconstruct as operations
from service.operations.reconstruct import Reconstructions
from service.operations.service import Service
from service.rest.answers import answer, items_answer
from service.rest.arrangement import beside, enlarge
from service.rest.body_schemas import ReconstructionsAnswer
from service.rest.kinds import check_drawn, cost_of, format_of, items_in, wire_of
from service.rest.kinds.base64_pictures import base64_bytes
from service.rest.negotiation import Format
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
    body = await body_of(service, call, takes_text=True)
    parameters = read_parameters(ReconstructParameters, call.query, *body.parameters(ReconstructParameters))
    accept = call.headers.get("accept", "")
    inference = open_request(service, call, parameters)
    form = format_of(inference.model, parameters.format, accept, view=parameters.view)
    if parameters.compare and form not in ("json", "png"):
        raise BadParameter(
            f"compare adds the originals to PNG and JSON, but the answer is {form}; ask for format=png or format=json"
        )
    inference.any_size = True
    pictures = await items_in(service.pipeline, body, inference)
    check_drawn(inference.model, len(pictures), form, parameters.view)
    scale_of = inference.check_shape = partial(
        choose_scale, parameters, form, accept, len(pictures), compare=parameters.compare
    )
    scale = scale_of(inference.model.shape)
    steps = inference.stepping
    seed = steps.seed if steps.temperature else parameters.seed
    made = await operations.reconstruct(service.pipeline, inference, pictures, parameters.mode, seed, parameters.pixels)
    if inference.size is not None:
        scale = scale_of(inference.picture_shape)
    seed = steps.seed if steps.temperature else made.seed
    fields: dict[str, Any] = {} if seed is None else {"seed": seed}
    headers = {} if seed is None else {"x-seed": str(seed)}
    render = partial(_answer, made, pictures, form, inference, parameters, fields, headers, scale)
    return await service.pipeline.offload(cost_of(inference, made.decoded, form, parameters.view, scale), render)


def _answer(
    made: Reconstructions,
    items: RawItems,
    form: Format,
    inference: Inference,
    parameters: ReconstructParameters,
    fields: dict[str, Any],
    headers: dict[str, str],
    scale: int,
) -> Answer:
    model, wire, data = inference.model, wire_of(inference.model), made.decoded
    if not model.is_pictures:
        whole, written = parameters.cells == "all", None if parameters.view or form == "png" else form
        data, more = wire.reconstructed(model, items, np.concatenate(made.originals), data, whole, written)
        fields = fields | more
    if not parameters.compare:
        return items_answer(data, form, inference, parameters, fields, headers, scale)
    if model.is_pictures:
        originals = _bytes_of(made.originals)
        compared: list[Any] = base64_bytes(originals) if form == "json" else []
    else:
        rows = np.concatenate(made.originals)
        originals = wire.pictures(inference, rows)
        compared = wire.json(model, rows) if parameters.view is None else base64_bytes(originals)
    if form == "json":
        return items_answer(data, form, inference, parameters, {**fields, "originals": compared}, headers, scale)
    joined = beside(originals, wire.pictures(inference, data), parameters.layout)
    return answer(png.write(enlarge(joined, scale)), form, inference, headers)


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
