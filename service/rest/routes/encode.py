"""/encode: pictures in, posteriors out."""

from functools import partial
from typing import Any

import numpy as np

from service.formats.npy import npy
from service.http.call import MILLISECONDS, Answer, Call
from service.inference.pipeline import Engine, Request
from service.inference.served_model import Floats
from service.latents import noise as seeds
from service.latents.paths import kl_per_dim
from service.rest.answers import answer, posteriors_json
from service.rest.bodies import pictures_of, read_body
from service.rest.negotiation import answer_format
from service.rest.parameters import BadParameter, read_parameters
from service.rest.registration import BINARY, PICTURE_BODIES, PICTURE_EXAMPLE, Router, add, describe_operation
from service.rest.schemas import EncodeParameters, Images, Parameters, Posterior

router = Router(tags=["inference"])


def open_request(engine: Engine, call: Call, parameters: Parameters) -> Request:
    """The model and the deadline that a call asks for. Raises UnknownModel, BadParameter."""
    milliseconds = parameters.timeout_ms
    header = call.headers.get("x-timeout-ms")
    if milliseconds is None and header is not None:
        if not MILLISECONDS.fullmatch(header):
            raise BadParameter(f"X-Timeout-Ms must be a positive whole number, not {header[:80]!r}")
        milliseconds = int(header)
    deadline = None if milliseconds is None else call.started + milliseconds / 1000
    call.limit(deadline)
    return Request(engine.catalog.get(parameters.model), deadline, call.timings)


async def encode(engine: Engine, call: Call) -> Answer:
    """Posteriors of pictures as JSON lists, or npy float32 (2, N, D): mu, then sigma."""
    body = await engine.offload(len(call.body), partial(read_body, call, engine.max_items))
    parameters = read_parameters(EncodeParameters, call.query, *body.parameters(EncodeParameters))
    form = answer_format(parameters.format, call.headers.get("accept", ""), ("json", "npy"))
    request = open_request(engine, call, parameters)
    rows = await engine.encode(pictures_of(body, request.model.shape), request)
    if form == "npy":
        return answer(npy(rows[:, :2].transpose(1, 0, 2)), form, request)
    mu, sigma, logvar = (np.ascontiguousarray(rows[:, i]) for i in range(3))  # (N, D) each
    fields: dict[str, Any] = {"model": request.model.name, "mu": mu, "sigma": sigma}
    if "logvar" in parameters.include:
        fields["logvar"] = logvar
    if not parameters.include.isdisjoint(("kl", "kl_per_dim")):
        nats = kl_per_dim(mu.astype(np.float64), sigma.astype(np.float64), logvar.astype(np.float64))
        if "kl" in parameters.include:
            fields["kl"] = nats.sum(1).astype(np.float32)
        if "kl_per_dim" in parameters.include:
            fields["kl_per_dim"] = nats.astype(np.float32)
    headers: dict[str, str] = {}
    if "z" in parameters.include:
        fields["seed"], fields["z"] = draw_from_posterior(mu, sigma, parameters.seed)
        headers["x-seed"] = str(fields["seed"])
    return answer(await posteriors_json(fields), form, request, headers)


def draw_from_posterior(mu: Floats, sigma: Floats, seed: int | None) -> tuple[int, Floats]:
    """(seed, z): z = mu + sigma * eps, (N, D); the seed is drawn when there is none."""
    seed = seeds.draw_seed() if seed is None else seed
    return seed, mu + sigma * seeds.standard_normal(seed, *mu.shape)


add(
    router,
    "/encode",
    ["POST"],
    encode,
    "Posteriors of pictures",
    describe_operation(
        EncodeParameters,
        {"application/json": {"schema": Posterior.model_json_schema()}, "application/x-npy": BINARY},
        {
            "application/json": {
                "schema": Images.model_json_schema(),
                "example": {"images": [PICTURE_EXAMPLE]},
            },
            **PICTURE_BODIES,
        },
    ),
    scope="infer",
    label="encode",
)
