"""/encode: pictures in, posteriors out."""

import re
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter

from service import codecs, seeds
from service.bodies import pictures_of, read_body
from service.calls import Answer, BadParameter, Call, answer_format, read_parameters
from service.engine import Engine, Request
from service.routes.answers import answer
from service.routes.door import BINARY, PICTURE_BODIES, PICTURE_EXAMPLE, add, describe_operation
from service.runtime import Floats
from service.schemas import EncodeParameters, Images, Parameters, Posterior

router = APIRouter(tags=["inference"])

MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}")
# nobody gains if the only request there is given up earlier
ALONE_MILLISECONDS = 1000


def open_request(engine: Engine, call: Call, parameters: Parameters) -> Request:
    """The model and the deadline that a call asks for; of the only call there is, it is not shorter than a second.

    Raises UnknownModel, BadParameter.
    """
    milliseconds = parameters.timeout_ms
    header = call.headers.get("x-timeout-ms")
    if milliseconds is None and header is not None:
        if not MILLISECONDS.fullmatch(header):
            raise BadParameter(f"X-Timeout-Ms must be a positive whole number, not {header[:80]!r}")
        milliseconds = int(header)
    if milliseconds is not None and engine.calls <= 1:
        milliseconds = max(milliseconds, ALONE_MILLISECONDS)
    deadline = None if milliseconds is None else call.started + milliseconds / 1000
    return Request(engine.catalog.get(parameters.model), deadline, call.timings)


async def encode(engine: Engine, call: Call) -> Answer:
    """Posteriors of pictures as JSON lists, or npy float32 (2, N, D): mu, then sigma."""
    body = await engine.offload(len(call.body), partial(read_body, call, engine.max_items))
    parameters = read_parameters(EncodeParameters, call.query, *body.parameters(EncodeParameters))
    form = answer_format(parameters.format, call.headers.get("accept", ""), ("json", "npy"))
    request = open_request(engine, call, parameters)
    rows = await engine.encode(pictures_of(body, request.runtime.shape), request)
    mu, sigma, logvar = (np.ascontiguousarray(rows[:, i]) for i in range(3))  # (N, D) each
    if form == "npy":
        return answer(codecs.npy(np.stack([mu, sigma])), form, request)
    fields: dict[str, Any] = {"model": request.runtime.name, "mu": mu, "sigma": sigma}
    if "logvar" in parameters.include:
        fields["logvar"] = logvar
    if not parameters.include.isdisjoint(("kl", "kl_per_dim")):
        kl_per_dim = 0.5 * (mu.astype(np.float64) ** 2 + sigma.astype(np.float64) ** 2 - 1 - logvar)
        if "kl" in parameters.include:
            fields["kl"] = kl_per_dim.sum(1).astype(np.float32)
        if "kl_per_dim" in parameters.include:
            fields["kl_per_dim"] = kl_per_dim.astype(np.float32)
    headers: dict[str, str] = {}
    if "z" in parameters.include:
        fields["seed"], fields["z"] = draw_from_posterior(mu, sigma, parameters.seed)
        headers["x-seed"] = str(fields["seed"])
    return answer(codecs.json_bytes(fields), form, request, headers)


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
)
