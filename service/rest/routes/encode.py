"""/encode: pictures in, posteriors out."""

from typing import Any

import numpy as np

from service.formats.npy import npy
from service.http.call import Answer, Call
from service.inference.served_model import ServedModel
from service.operations import encode as operations
from service.operations.encode import draw_from_posterior
from service.operations.service import Service
from service.operations.shaped import latent_shape, spatial_of
from service.rest.answers import answer, posteriors_json, warnings_of
from service.rest.body_schemas import Posterior
from service.rest.direct_encode import direct_encode
from service.rest.kinds import items_in
from service.rest.negotiation import Format, answer_format
from service.rest.parameters import BadParameter, read_parameters
from service.rest.registration import BINARY, PICTURE_BODIES, Router, add, describe_operation, json_content
from service.rest.requests import body_of, open_request
from service.rest.schemas import EncodeParameters

router = Router(tags=["inference"])


async def encode(service: Service, call: Call) -> Answer:
    """Return the posterior of each picture, as JSON lists or as npy float32 (2, N, D): mu, then sigma. mu is the embedding."""
    body = await body_of(service, call, takes_text=True)
    parameters = read_parameters(EncodeParameters, call.query, *body.parameters(EncodeParameters))
    form = answer_format(parameters.format, call.headers.get("accept", ""), ("json", "npy"))
    inference = open_request(service, call, parameters)
    if parameters.shaped:
        _check_shaped(service, inference.model, form)
    inference.any_size = True
    pictures = await items_in(service.pipeline, body, inference)
    posteriors = await operations.encode(service.pipeline, inference, pictures)
    shape = latent_shape(inference.model, inference.size)
    headers = {} if inference.model.kind.spatial is None else {"x-latent-shape": ",".join(map(str, shape))}
    if form == "npy":
        both = posteriors.rows[:, :2].transpose(1, 0, 2)
        return answer(npy(both.reshape(*both.shape[:2], *shape) if parameters.shaped else both), form, inference, headers)
    mu, sigma = np.ascontiguousarray(posteriors.mu), np.ascontiguousarray(posteriors.sigma)  # as JSON needs them
    fields: dict[str, Any] = {"model": inference.model.name, "mu": mu, "sigma": sigma}
    if "logvar" in parameters.include:
        fields["logvar"] = np.ascontiguousarray(posteriors.logvar)
    if not parameters.include.isdisjoint(("kl", "kl_per_dim")):
        nats = posteriors.kl_per_dim()
        if "kl" in parameters.include:
            fields["kl"] = nats.sum(1).astype(np.float32)
        if "kl_per_dim" in parameters.include:
            fields["kl_per_dim"] = nats.astype(np.float32)
    if "z" in parameters.include:
        fields["seed"], fields["z"] = draw_from_posterior(mu, sigma, parameters.seed)
        headers["x-seed"] = str(fields["seed"])
    if headers.get("x-latent-shape"):
        fields["latent_shape"] = list(shape)
    if inference.warnings.found:
        fields |= warnings_of(inference)
    return answer(await posteriors_json(fields), form, inference, headers)


def _check_shaped(service: Service, model: ServedModel, form: Format) -> None:
    """Raise NoLatentShape or BadParameter unless an answer can have latents with their shape."""
    spatial_of(model, service.pipeline.catalog)
    if form != "npy":
        raise BadParameter(f"shaped is for npy, but the answer is {form}: add format=npy, or use its field latent_shape")


add(
    router,
    "/encode",
    ["POST"],
    encode,
    "Embeddings (posteriors) of pictures",
    describe_operation(
        EncodeParameters,
        {**json_content(Posterior), "application/x-npy": BINARY},
        PICTURE_BODIES,
    ),
    scope="infer",
    label="encode",
    name="encode",
    hot=True,
    direct=direct_encode,
)
