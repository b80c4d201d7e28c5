"""/decode and /sample: latents in, or drawn from the prior; pictures out."""

from functools import partial
from typing import Any

from fastapi import APIRouter

from service import seeds
from service.bodies import latents_of, read_body
from service.calls import Answer, Call, answer_format, read_parameters
from service.codecs import Unsupported
from service.engine import Engine
from service.gate import TooLarge
from service.routes.answers import pictures_answer
from service.routes.door import BINARY, PICTURE_ANSWERS, add, describe_operation
from service.routes.encode import open_request
from service.schemas import DecodeParameters, Latents, SampleParameters

router = APIRouter(tags=["inference"])


async def decode(engine: Engine, call: Call) -> Answer:
    """Mean pictures of latents, in the order of the request."""
    body = await engine.offload(len(call.body), partial(read_body, call, engine.max_items))
    parameters = read_parameters(DecodeParameters, call.query, *body.parameters(DecodeParameters))
    form = answer_format(parameters.format, call.headers.get("accept", ""), ("json", "npy", "png"))
    request = open_request(engine, call, parameters)
    dim = request.runtime.manifest.model.latent_dim
    z = await engine.offload(len(call.body), partial(latents_of, body, dim))
    pixels = await engine.through(request.runtime.decode, z, request)
    render = partial(pictures_answer, pixels, form, request, dtype=parameters.dtype, layout=parameters.layout)
    return await engine.offload(pixels.nbytes, render)


async def sample(engine: Engine, call: Call) -> Answer:
    """Pictures of latents drawn from the prior: z = temperature * eps(seed, item)."""
    body = read_body(call, engine.max_items)
    if body.kind not in ("empty", "json"):
        raise Unsupported(f"parameters come in the query or as JSON, not as a {body.kind}")
    parameters = read_parameters(SampleParameters, call.query, *body.parameters(SampleParameters))
    form = answer_format(parameters.format, call.headers.get("accept", ""), ("json", "npy", "png"))
    request = open_request(engine, call, parameters)
    if parameters.n > engine.max_items:  # before the noise is drawn
        raise TooLarge(parameters.n, engine.max_items)
    seed = seeds.draw_seed() if parameters.seed is None else parameters.seed
    dim = request.runtime.manifest.model.latent_dim
    with request.runtime.decode.reserve(parameters.n) as reservation:
        eps = await engine.offload(8 * parameters.n * dim, partial(seeds.standard_normal, seed, parameters.n, dim))
        z = eps * eps.dtype.type(parameters.temperature)
        pixels = await reservation.submit(z, request.deadline)
    request.timings.add(reservation)
    fields: dict[str, Any] = {"seed": seed}
    if "z" in parameters.include:
        fields["z"] = z
    render = partial(
        pictures_answer,
        pixels,
        form,
        request,
        dtype=parameters.dtype,
        layout=parameters.layout,
        fields=fields,
        headers={"x-seed": str(seed)},
    )
    return await engine.offload(pixels.nbytes, render)


LATENTS_EXAMPLE = {"z": [[0.5, -1.2] + [0.0] * 18]}

add(
    router,
    "/decode",
    ["POST"],
    decode,
    "Pictures of latents",
    describe_operation(
        DecodeParameters,
        PICTURE_ANSWERS,
        {
            "application/json": {"schema": Latents.model_json_schema(), "example": LATENTS_EXAMPLE},
            "application/x-npy": BINARY,
        },
    ),
)
add(
    router,
    "/sample",
    ["GET", "POST"],
    sample,
    "Pictures drawn from the prior",
    describe_operation(
        SampleParameters,
        PICTURE_ANSWERS,
        {"application/json": {"schema": SampleParameters.model_json_schema(), "example": {"n": 4, "seed": 7}}},
        body_required=False,
    ),
)
