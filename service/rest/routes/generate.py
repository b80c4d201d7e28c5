"""/decode and /sample: latents in, or drawn from the prior; pictures out."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from service.formats.errors import Unsupported
from service.http.call import Answer, Call
from service.inference.pipeline import Engine
from service.inference.served_model import Floats
from service.latents import noise as seeds
from service.latents.paths import Mixture
from service.rest.answers import pictures_answer
from service.rest.bodies import latents_of, read_body
from service.rest.etags import cache_headers, not_modified
from service.rest.negotiation import answer_format
from service.rest.parameters import check_count, read_parameters
from service.rest.registration import BINARY, PICTURE_ANSWERS, Router, add, describe_operation
from service.rest.routes.encode import open_request
from service.rest.schemas import DecodeParameters, Latents, SampleParameters

router = Router(tags=["inference"])


async def decode(engine: Engine, call: Call) -> Answer:
    """Mean pictures of latents, in the order of the request."""
    body = await engine.offload(len(call.body), partial(read_body, call, engine.max_items))
    parameters = read_parameters(DecodeParameters, call.query, *body.parameters(DecodeParameters))
    form = answer_format(parameters.format, call.headers.get("accept", ""), ("json", "npy", "png"))
    request = open_request(engine, call, parameters)
    dim = request.model.manifest.model.latent_dim
    z = await engine.offload(len(call.body), partial(latents_of, body, dim))
    pixels = await engine.through(request.model.decode, z, request)
    render = partial(pictures_answer, pixels, form, request, parameters)
    return await engine.offload(pixels.nbytes, render)


async def sample(engine: Engine, call: Call) -> Answer:
    """Pictures of latents drawn from the prior: z = temperature * eps(seed, item), standard normal.

    `prior=aggregate` draws from the Gaussian mixture that was fitted to the aggregate posterior of the training pictures:
    z = mean_k + temperature * L_k eps, with the component k chosen by one more number of the same (seed, item). So does
    `prior=vamp`, which a model that was trained with a VampPrior takes by itself, with the posteriors of its pseudo-inputs.
    """
    body = await engine.offload(len(call.body), partial(read_body, call, engine.max_items))
    if body.kind not in ("empty", "json"):
        raise Unsupported(f"parameters come in the query or as JSON, not as a {body.kind}")
    given = body.parameters(SampleParameters)
    parameters = read_parameters(SampleParameters, call.query, *given)
    form = answer_format(parameters.format, call.headers.get("accept", ""), ("json", "npy", "png"))
    request = open_request(engine, call, parameters)
    check_count("n", parameters.n, given, engine.max_items)  # before the noise is drawn
    seed = seeds.draw_seed() if parameters.seed is None else parameters.seed
    model = request.model
    priors = engine.catalog.priors[model.name]
    prior = parameters.prior or priors.own
    mixture = priors.mixture(prior)
    cached: Mapping[str, str] = {}
    if call.method == "GET":
        versions = engine.version, model.label, prior, priors.digests.get(prior, "")
        cached = cache_headers(parameters, form, parameters.seed, *versions)
        unchanged = not_modified(call, {"x-model": model.label, **cached})
        if unchanged is not None:
            return unchanged
    dim = model.manifest.model.latent_dim
    with request.model.decode.reserve(parameters.n) as reservation:
        z = await engine.offload(8 * parameters.n * dim, partial(_draw, seed, dim, parameters, mixture))
        pixels = await reservation.submit(z, request.deadline)
    request.timings.add(reservation)
    fields: dict[str, Any] = {"seed": seed, "prior": prior}
    if "z" in parameters.include:
        fields["z"] = z
    headers = {"x-seed": str(seed), "x-prior": prior, **cached}
    render = partial(pictures_answer, pixels, form, request, parameters, fields, headers)
    return await engine.offload(pixels.nbytes, render)


def _draw(seed: int, dim: int, parameters: SampleParameters, mixture: Mixture | None) -> Floats:
    """Latents of a request, (n, D): from N(0, temperature^2 I), or from the mixture."""
    if mixture is not None:
        eps, uniform = seeds.normal_and_uniform(seed, parameters.n, dim)
        return mixture.draw(eps, uniform, parameters.temperature)
    eps = seeds.standard_normal(seed, parameters.n, dim)
    return eps * eps.dtype.type(parameters.temperature)


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
    scope="infer",
    label="decode",
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
    tagged=True,
    scope="infer",
    label="sample",
)
