"""The answer to a request for the pictures of latents, in every format, with drawn pixels if they are asked for."""

from functools import partial
from typing import Any

from service.http.call import Answer
from service.inference.inference import Inference
from service.inference.served_model import Floats
from service.inference.told import check_count
from service.latents import noise as seeds
from service.operations import generate
from service.operations.service import Service
from service.rest.answers import items_answer
from service.rest.kinds import cost_of
from service.rest.negotiation import Format
from service.rest.schemas import DecodeParameters


async def decoded(
    service: Service,
    inference: Inference,
    z: Floats,
    form: Format,
    parameters: DecodeParameters,
    scale: int,
    fields: dict[str, Any] | None = None,
) -> Answer:
    """Decode latents (N, D) and return their pictures; JSON also gets `fields`. Raises BatcherError."""
    fields = dict(fields or {})
    headers: dict[str, str] = {}
    seed = None
    if parameters.pixels == "sample":
        seed = fields["seed"] = seeds.draw_seed() if parameters.seed is None else parameters.seed
        headers["x-seed"] = str(seed)
    elif inference.stepping.temperature:
        fields["seed"] = inference.stepping.seed
        headers["x-seed"] = str(inference.stepping.seed)
    if inference.label is not None:
        check_count(inference.label, len(z))
    pixels = await generate.decode(service.pipeline, inference, z, seed)
    render = partial(items_answer, pixels, form, inference, parameters, fields, headers, scale)
    return await service.pipeline.offload(cost_of(inference, pixels, form, parameters.view, scale), render)
