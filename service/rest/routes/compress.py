"""/compress and /decompress: pictures as a file of their quantised latents, and back."""

from functools import partial
from typing import Any

from service.http.call import Answer, Call
from service.latents import noise as seeds
from service.operations import compress as operations
from service.operations.service import Service
from service.rest.answers import items_answer, timing_of
from service.rest.compression_schemas import CompressParameters, DecompressParameters
from service.rest.kinds import cost_of, format_of, items_in
from service.rest.parameters import read_parameters
from service.rest.registration import BINARY, ERRORS, PICTURE_ANSWERS, PICTURE_BODIES, Router, add, describe_operation
from service.rest.requests import body_of, open_request
from service.rest.scaling import choose_scale

router = Router(tags=["inference"])

COMPRESSED = "application/x-vae-latents"


async def compress(service: Service, call: Call) -> Answer:
    """Return the latents of pictures, rounded to bins and entropy-coded, as one file of `application/x-vae-latents`.

    Bins are `step` times as wide as the posteriors, on average over the pictures of the request. Their probabilities are in
    the header, so that a file of a few hundred pictures or more takes a few bytes a picture if the model has tens of
    dimensions; with more dimensions it takes more. docs/latents.md has its layout.
    """
    body = await body_of(service, call, takes_text=True)
    parameters = read_parameters(CompressParameters, call.query, *body.parameters(CompressParameters))
    inference = open_request(service, call, parameters)
    pictures = await items_in(service.pipeline, body, inference)
    file = await operations.compress(service.pipeline, inference, pictures, parameters.step, parameters.sharpen)
    headers = {"x-model": inference.model.label, "server-timing": timing_of(inference)}
    if inference.warnings.found:
        headers["x-warnings"] = str(len(inference.warnings.found))
    return Answer(file, COMPRESSED, headers)


async def decompress(service: Service, call: Call) -> Answer:
    """Return the pictures of a file that /compress has made, in the order of its pictures; include=z adds the latents.

    The file names its model by the digest, so that `model` is not needed. Another model is refused.
    """
    parameters = read_parameters(DecompressParameters, call.query)
    accept = call.headers.get("accept", "")
    file, pipeline = bytes(call.body), service.pipeline
    work = partial(operations.model_of_file, pipeline.catalog, file, parameters.model)
    model = await pipeline.offload(len(file), work)
    inference = open_request(service, call, parameters.model_copy(update={"model": model.name}))
    form = format_of(inference.model, parameters.format, accept, view=parameters.view)
    fields: dict[str, Any] = {}
    headers: dict[str, str] = {}
    seed = None
    if parameters.pixels == "sample":
        seed = seeds.draw_seed() if parameters.seed is None else parameters.seed
        fields, headers = {"seed": seed}, {"x-seed": str(seed)}
    elif inference.stepping.temperature:
        fields, headers = {"seed": inference.stepping.seed}, {"x-seed": str(inference.stepping.seed)}
    made = await operations.decompress(pipeline, inference, file, seed)
    scale = choose_scale(parameters, form, accept, len(made.z), model.shape)
    pixels = made.decoded
    if "z" in parameters.include:
        fields["z"] = made.z
    render = partial(items_answer, pixels, form, inference, parameters, fields, headers, scale)
    return await pipeline.offload(cost_of(inference, pixels, form, parameters.view, scale), render)


add(
    router,
    "/compress",
    ["POST"],
    compress,
    "Compress pictures to their latents, rounded",
    describe_operation(CompressParameters, {COMPRESSED: BINARY}, PICTURE_BODIES),
    scope="infer",
    label="compress",
    name="compress",
)
add(
    router,
    "/decompress",
    ["POST"],
    decompress,
    "Pictures of compressed latents",
    describe_operation(
        DecompressParameters, PICTURE_ANSWERS, {COMPRESSED: BINARY, "application/octet-stream": BINARY}, errors=(*ERRORS, 409)
    ),
    scope="infer",
    label="decompress",
    name="decompress",
)
