"""/manifold: a plane of the latent space, decoded."""

import hashlib
import math
from functools import partial
from typing import Any

import numpy as np

from models.mosaic import tile
from service.formats import png
from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats, ServedModel
from service.operations import manifold as operations
from service.operations.manifold import Manifold
from service.operations.service import Service
from service.operations.used_dimensions import most_used, recorded_kl
from service.rest.answers import answer, data_answer
from service.rest.arrangement import GAP_PIXELS, enlarge, tiled_size
from service.rest.etags import cache_headers, not_modified
from service.rest.item_bodies import check_id, unnumbered
from service.rest.kinds import answering, check_drawn, cost_of, wire_of
from service.rest.negotiation import ANYTHING, Format
from service.rest.parameters import BadParameter, two_dims
from service.rest.point_schemas import ManifoldAnswer, ManifoldParameters
from service.rest.points import open_collection_of
from service.rest.registration import BINARY, Router, add, describe_operation, json_content
from service.rest.requests import open_request, query_parameters
from service.rest.scaling import fit_scale

router = Router(tags=["inference"])


async def manifold(service: Service, call: Call) -> Answer:
    """Return the decoded plane of two dimensions over percentiles of N(0, 1): the first to the right, the second upwards.

    All other dimensions are 0, or those of a stored item. Programs that accept anything get a PNG.
    """
    parameters = query_parameters(ManifoldParameters, call)
    accept = call.headers.get("accept", "")
    side, most = parameters.n, service.pipeline.max_items
    if side > math.isqrt(most):
        raise BadParameter(
            f"n is {side}, but can be at most {math.isqrt(most)}: the plane has n x n pictures, and at most {most} are "
            "allowed in one request"
        )
    point, inference = await _point(service, call, parameters)
    model, wire = inference.model, answering(inference.model, parameters.view)
    anything = parameters.format is None and accept in ("", ANYTHING)
    offered: tuple[Format, ...] = ("png", *(form for form in wire.formats if form != "png"))
    form = "png" if anything else wire.format(model, parameters.format, accept, offered=offered)
    dims = _dims(parameters.dims, service.pipeline, model)
    scale = 1
    check_drawn(model, side * side, form, parameters.view)
    if form == "png":
        scale = fit_scale(parameters.scale, form, accept, tiled_size(side, side, model.shape[:2]), 1, side * side)
    through = "" if point is None else hashlib.sha256(point.tobytes()).hexdigest()
    cached = cache_headers(parameters, form, scale, service.pipeline.version, model.label, through, f"{dims}")
    unchanged = not_modified(call, {"x-model": model.label, **cached})
    if unchanged is not None:
        return unchanged
    plane = await operations.manifold(service.pipeline, inference, dims, side, parameters.span, point)
    render = partial(_answer, plane, form, inference, parameters, scale, dict(cached))
    return await service.pipeline.offload(cost_of(inference, plane.decoded, form, parameters.view, scale), render)


async def _point(service: Service, call: Call, parameters: ManifoldParameters) -> tuple[Floats | None, Inference]:
    """Return the mu (D,) of the item that the plane goes through, if any, and the model and deadline."""
    if parameters.item is None and parameters.collection is None:
        return None, open_request(service, call, parameters)
    if parameters.item is None or parameters.collection is None:
        missing = "item" if parameters.item is None else "collection"
        raise BadParameter(f"{missing} is missing: collection and item together name the item that the plane goes through")
    id = check_id(parameters.item)
    inference, collection = await open_collection_of(service, call, parameters, parameters.collection)
    with unnumbered():
        items = await service.store.items(collection, [id], inference.deadline)
    return items.mu[0], inference


def _dims(text: str | None, pipeline: Pipeline, model: ServedModel) -> tuple[int, int]:
    """Return the two dimensions that are asked for, or those that are used most. Raises BadParameter."""
    if model.latent_dim < 2:
        raise BadParameter(f"the latents of the model {model.name!r} have one dimension, and a plane needs two")
    if text is not None:
        return two_dims(text, model.latent_dim)
    kl = None if model.latent_dim == 2 else recorded_kl(pipeline, model)
    first, second = most_used(kl, model.latent_dim, 2)
    return first, second


def _answer(
    plane: Manifold, form: Format, inference: Inference, parameters: ManifoldParameters, scale: int, headers: dict[str, str]
) -> Answer:
    if form == "png":
        pixels = wire_of(inference.model).pictures(inference, plane.decoded)
        mosaic = tile(pixels, parameters.n, GAP_PIXELS)
        return answer(png.write(enlarge(mosaic, scale)), form, inference, headers)
    fields: dict[str, Any] = {"dims": list(plane.dims), "n": parameters.n, "values": plane.values.astype(np.float32)}
    if "z" in parameters.include:
        fields["z"] = plane.z
    return data_answer(plane.decoded, form, inference, parameters.dtype, fields, headers, parameters.view)


add(
    router,
    "/manifold",
    ["GET"],
    manifold,
    "The manifold: a plane of the latent space, decoded",
    describe_operation(
        ManifoldParameters,
        {"image/png": BINARY, **json_content(ManifoldAnswer), "application/x-npy": BINARY},
        {},
        errors=(404, 409, 415, 422, 429, 500, 503, 504),
    ),
    tagged=True,
    scope="infer",
    label="manifold",
    name="manifold",
)
