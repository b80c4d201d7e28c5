"""/interpolate: pictures, latents or items; the frames of a path through them, or of a square between four of them."""

import math
from functools import partial
from typing import Any

import numpy as np

from service.formats.errors import Unusable
from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.operations import interpolate as operations
from service.operations.graph_path import Along, graph_path, measure
from service.operations.points import Points
from service.operations.service import Service
from service.rest.answers import items_answer
from service.rest.bodies import Body
from service.rest.body_schemas import PathAnswer
from service.rest.kinds import check_drawn, cost_of, format_of, wire_of
from service.rest.parameters import BadParameter, check_count, read_parameters
from service.rest.point_schemas import PathBody
from service.rest.points import LISTS_PER_POINT, POINT_ERRORS, ends_of, listed_points, open_points
from service.rest.registration import BINARY, PICTURE_ANSWERS, PICTURE_EXAMPLE, Router, add, describe_operation, json_content
from service.rest.requests import body_of
from service.rest.scaling import choose_scale
from service.rest.schemas import InterpolateParameters
from service.rest.shaped_latents import shaped_points
from service.store.interface import Collection

router = Router(tags=["inference"])


async def interpolate(service: Service, call: Call) -> Answer:
    """Return the frames from start to end, both included. Pictures and stored items stand for the mu of their posteriors.

    With `points` instead of start and end, the path goes through all of them, and each is one of the frames. With `corners`,
    four points, the answer has steps x steps frames: a square between its upper left, upper right, lower left and lower right
    corner, row by row.
    """
    body = await body_of(service, call, LISTS_PER_POINT)
    given = body.parameters(InterpolateParameters)
    parameters = read_parameters(InterpolateParameters, call.query, *given)
    accept = call.headers.get("accept", "")
    inference, collection = await open_points(service, call, parameters)
    form = format_of(inference.model, parameters.format, accept, frames=True, view=parameters.view)
    if inference.model.kind.steps and "method" not in parameters.model_fields_set:
        parameters = parameters.model_copy(update={"method": "slerp"})
    _check_method(parameters, body, collection)
    corners = "corners" in body.values
    if corners:
        parameters = _of_square(parameters, service.pipeline.max_items, wire_of(inference.model).things)
    else:
        check_count("steps", parameters.steps, given, service.pipeline.max_items, wire_of(inference.model).things)
    count = parameters.steps**2 if corners else parameters.steps
    check_drawn(inference.model, count, form, parameters.view)
    scale_of = inference.check_shape = partial(choose_scale, parameters, form, accept, count)
    scale = scale_of(inference.model.shape)
    parse = partial(_points_of, body, inference, collection, parameters.steps)
    points = await service.pipeline.offload(len(call.body), parse)
    fields: dict[str, Any] = {"method": parameters.method}
    if collection is not None and parameters.method == "graph":
        weights = parameters.density_weight, parameters.bandwidth, "log_density" in parameters.include
        if len(points) != 2:
            raise BadParameter(f"method=graph joins 2 points, but 'points' has {len(points)}: send a request for each pair")
        found = await graph_path(service.pipeline, service.store, inference, collection, points, parameters.steps, *weights)
        frames, along = found.frames, found.along
        fields |= {"ids": found.ids, "graph": {"items": found.items, "count": found.count}, **_described(along)}
    else:
        frames = await operations.interpolate(
            service.pipeline, service.store, inference, points, parameters.steps, parameters.method, collection, corners
        )
        if collection is not None and "log_density" in parameters.include:
            along = await measure(service.pipeline, service.store, inference, collection, frames, parameters.bandwidth)
            fields |= _described(along)
    if inference.size is not None:
        scale = scale_of(inference.picture_shape)
    if "z" in parameters.include:
        fields["z"] = frames.z
    headers: dict[str, str] = {}
    if inference.stepping.temperature:
        fields["seed"] = inference.stepping.seed
        headers["x-seed"] = str(inference.stepping.seed)
    render = partial(items_answer, frames.decoded, form, inference, parameters, fields, headers, scale)
    return await service.pipeline.offload(cost_of(inference, frames.decoded, form, parameters.view, scale), render)


def _check_method(parameters: InterpolateParameters, body: Body, collection: Collection | None) -> None:
    """Raise BadParameter if the method or what the answer is to include does not fit to the rest of the request."""
    graph, log_density = parameters.method == "graph", "log_density" in parameters.include
    if collection is None and (graph or log_density):
        need = (
            "method=graph needs the collection whose items the path goes through"
            if graph
            else "include=log_density needs the collection whose density is meant"
        )
        raise BadParameter(f"{need}: add collection=NAME")
    if "density_weight" in parameters.model_fields_set and not graph:
        raise BadParameter(
            f"density_weight is for method=graph, but the method is {parameters.method}: leave it out, or add method=graph"
        )
    if parameters.bandwidth is not None and not (graph or log_density):
        raise BadParameter(
            "bandwidth is that of the density of a collection, which only method=graph and include=log_density give: leave it "
            "out, or add one of them"
        )
    if "corners" in body.values and (graph or log_density):
        asked = "method=graph" if graph else "include=log_density"
        raise BadParameter(f"{asked} is for paths, but 'corners' ask for a square: leave one of them out")


def _described(along: Along) -> dict[str, Any]:
    """Return the fields of a JSON answer that say how a path is."""
    density = None if along.log_density is None else along.log_density.astype(np.float32)
    bandwidth = None if along.bandwidth is None else along.bandwidth.value
    return {"log_density": density, "length": np.float32(along.length), "bandwidth": bandwidth}


def _of_square(parameters: InterpolateParameters, most: int, things: str) -> InterpolateParameters:
    """Return the parameters of a square of frames, which is a grid unless another layout is stated. Raises BadParameter."""
    steps = parameters.steps
    if steps > math.isqrt(most):
        raise BadParameter(
            f"steps is {steps}, but with corners it can be at most {math.isqrt(most)}: the square has steps x steps {things}, "
            f"and at most {most} are allowed in one request"
        )
    return parameters if "layout" in parameters.model_fields_set else parameters.model_copy(update={"layout": "grid"})


def _points_of(body: Body, inference: Inference, collection: Collection | None, steps: int) -> Points:
    """Return the points of a path, or the four corners of a square. Raises BadInput, BadParameter, TooLarge."""
    model, shaped = inference.model, None
    if model.kind.spatial is not None and collection is None:
        shaped = shaped_points(body, model, model.kind.spatial)
    points: Points = shaped or _usual_points(body, model, collection)
    _check_points(body, points, steps)
    return points


def _usual_points(body: Body, model: ServedModel, collection: Collection | None) -> Points:
    wire = wire_of(model)
    kinds = [name for name in ("points", "corners") if name in body.values]
    if not kinds:
        return ends_of(body, model.latent_dim, model.name, collection, model)
    if others := sorted(body.values.keys() & {"start", "end", *kinds[1:]}):
        raise Unusable(f"the JSON body has {kinds[0]!r} and {others[0]!r}; send start and end, or points, or corners")
    return listed_points(body, kinds[0], model.latent_dim, collection, wire=wire)


def _check_points(body: Body, points: Points, steps: int) -> None:
    """Raise Unusable or BadParameter if a path or a square has too few points, or too many."""
    kinds = [name for name in ("points", "corners") if name in body.values]
    if kinds == ["corners"] and len(points) != 4:
        raise Unusable(
            f"'corners' has {len(points)} points, but must have 4: upper left, upper right, lower left, lower right"
        )
    if kinds == ["points"] and len(points) < 2:
        raise Unusable("'points' has 1 point, but a path needs at least 2")
    if kinds == ["points"] and steps < len(points):
        raise BadParameter(
            f"steps is {steps}, but the path has {len(points)} points, each of which is a frame: steps must be at least "
            f"{len(points)}"
        )


EXAMPLE = {"start": {"image": PICTURE_EXAMPLE}, "end": {"z": [1.0] * 20}, "steps": 8, "method": "linear"}
FORM_OF_ENDS = {
    "type": "object",
    "required": ["start", "end"],
    "properties": {"start": BINARY["schema"], "end": BINARY["schema"]},
}


add(
    router,
    "/interpolate",
    ["POST"],
    interpolate,
    "Morph: frames of a path between pictures or latents",
    describe_operation(
        InterpolateParameters,
        {**PICTURE_ANSWERS, **json_content(PathAnswer), "image/webp": BINARY, "image/gif": BINARY},
        {
            **json_content(PathBody, EXAMPLE),
            "multipart/form-data": {"schema": FORM_OF_ENDS},
        },
        errors=POINT_ERRORS,
    ),
    scope="infer",
    label="interpolate",
    name="interpolate",
    hot=True,
)
