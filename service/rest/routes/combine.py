"""/combine and /barycenter: several points in, the picture of their sum or of their mean out."""

from functools import partial
from typing import Any

from service.http.call import Answer, Call
from service.operations import combine as operations
from service.operations.service import Service
from service.rest.body_schemas import BarycenterAnswer
from service.rest.decoding import decoded
from service.rest.kinds import format_of, wire_of
from service.rest.parameters import read_parameters
from service.rest.point_schemas import BarycenterParameters, CombineParameters, Terms, WeightedPoints
from service.rest.points import LISTS_PER_POINT, MAX_WEIGHT, POINT_ERRORS, open_points, weighted_points
from service.rest.registration import PICTURE_ANSWERS, PICTURE_EXAMPLE, Router, add, describe_operation, json_content
from service.rest.requests import body_of
from service.rest.scaling import choose_scale

router = Router(tags=["inference"])


async def combine(service: Service, call: Call) -> Answer:
    """Return the picture of a sum of weighted points, such as the analogy a - b + c. A posterior stands for its mu.

    The weights are taken as they are. If they add up to 1, the result moves with its points; if they add up to 0, it is a
    difference, decoded as if it began at the mean of the prior.
    """
    body = await body_of(service, call, LISTS_PER_POINT)
    parameters = read_parameters(CombineParameters, call.query, *body.parameters(CombineParameters))
    accept = call.headers.get("accept", "")
    inference, collection = await open_points(service, call, parameters)
    form = format_of(inference.model, parameters.format, accept, view=parameters.view)
    scale = choose_scale(parameters, form, accept, 1, inference.model.shape)
    parse = partial(
        weighted_points, body, "terms", inference.model.latent_dim, collection, -MAX_WEIGHT, wire_of(inference.model)
    )
    points, weights = await service.pipeline.offload(len(call.body), parse)
    z = await operations.combine(service.pipeline, service.store, inference, points, weights, collection)
    fields = {"z": z} if "z" in parameters.include else {}
    return await decoded(service, inference, z, form, parameters, scale, fields)


async def barycenter(service: Service, call: Call) -> Answer:
    """Return the picture of the mean of points, or of the 2-Wasserstein barycenter of posteriors (method=w2).

    The weights, 1 unless they are given, are divided by their sum. With method=w2, JSON has mu and sigma of the barycenter,
    and the picture is that of its mu.
    """
    body = await body_of(service, call, LISTS_PER_POINT)
    parameters = read_parameters(BarycenterParameters, call.query, *body.parameters(BarycenterParameters))
    accept = call.headers.get("accept", "")
    inference, collection = await open_points(service, call, parameters)
    form = format_of(inference.model, parameters.format, accept, view=parameters.view)
    scale = choose_scale(parameters, form, accept, 1, inference.model.shape)
    parse = partial(weighted_points, body, "points", inference.model.latent_dim, collection, 0, wire_of(inference.model))
    points, weights = await service.pipeline.offload(len(call.body), parse)
    found = await operations.barycenter(
        service.pipeline, service.store, inference, points, weights, parameters.method, collection
    )
    fields: dict[str, Any] = {"method": parameters.method}
    if found.sigma is not None:
        fields |= {"mu": found.mu, "sigma": found.sigma}
    if "z" in parameters.include:
        fields["z"] = found.mu
    return await decoded(service, inference, found.mu, form, parameters, scale, fields)


TERMS_EXAMPLE = {"terms": [{"image": PICTURE_EXAMPLE}, {"z": [1.0] * 20, "weight": -1}, {"z": [0.5] * 20}]}
POINTS_EXAMPLE = {"points": [{"image": PICTURE_EXAMPLE}, {"mu": [1.0] * 20, "sigma": [0.5] * 20, "weight": 2}]}

add(
    router,
    "/combine",
    ["POST"],
    combine,
    "Combine: a weighted sum of pictures and latents, such as an analogy",
    describe_operation(CombineParameters, PICTURE_ANSWERS, json_content(Terms, TERMS_EXAMPLE), errors=POINT_ERRORS),
    scope="infer",
    label="combine",
    name="combine",
)
add(
    router,
    "/barycenter",
    ["POST"],
    barycenter,
    "Average: the mean of pictures and latents, or their 2-Wasserstein barycenter",
    describe_operation(
        BarycenterParameters,
        {**PICTURE_ANSWERS, **json_content(BarycenterAnswer)},
        json_content(WeightedPoints, POINTS_EXAMPLE),
        errors=POINT_ERRORS,
    ),
    scope="infer",
    label="barycenter",
    name="barycenter",
)
