"""/models/{name}/map: the training latents of a model in a plane."""

from collections.abc import Callable
from functools import partial

from service.formats.json_values import json_bytes
from service.formats.npy import npy
from service.http.call import Answer, Call
from service.inference.served_model import ServedModel
from service.operations import model_map as operations
from service.operations.service import Service
from service.rest.answers import plane_json
from service.rest.negotiation import MEDIA_TYPES, answer_format
from service.rest.parameters import BadParameter, two_dims
from service.rest.paths import MODEL_PATH
from service.rest.registration import BINARY, Router, add, describe_operation, json_content
from service.rest.requests import query_parameters
from service.rest.score_schemas import ModelMapAnswer, ModelMapParameters

router = Router(tags=["models"])


async def model_map(service: Service, call: Call) -> Answer:
    """Show the training latents of the model's calibration in a plane: two dimensions, or the principal components.

    `plane` has the origin and the axes, which place any other latent in it. With just two dimensions, the plane is the latent
    space itself.
    """
    parameters = query_parameters(ModelMapParameters, call)
    form = answer_format(parameters.format, call.headers.get("accept", ""), ("json", "npy"))
    model = service.pipeline.catalog.get(call.path["name"])
    dims = _dims(parameters, model)
    work = partial(operations.model_map, model, dims)
    calibration, plane, points = await service.pipeline.offload(model.latent_dim * 20_000, work)
    if form == "npy":
        render: Callable[[], bytes] = partial(npy, points)
    else:
        fields = {
            "model": model.name,
            "plane": plane_json(plane, dims),
            "points": points,
            "labels": calibration.labels,
            "label_names": calibration.label_names,
            "record": dict(calibration.record),
        }
        render = partial(json_bytes, fields)
    body = await service.pipeline.offload(len(points) * 40, render)
    return Answer(body, MEDIA_TYPES[form], {"x-model": model.label, "vary": "accept"})


def _dims(parameters: ModelMapParameters, model: ServedModel) -> tuple[int, int] | None:
    """Return the dimensions that are asked for; None for principal components. Raises BadParameter."""
    last, plane = model.latent_dim - 1, parameters.plane
    if last < 1:
        raise BadParameter(f"the latents of the model {model.name!r} have one dimension, and a plane needs two")
    if parameters.dims is None:
        return (0, 1) if plane == "dims" or (plane is None and last == 1) else None
    if plane == "pca":
        raise BadParameter("dims chooses two dimensions of plane=dims, but plane is pca: leave out one of them")
    return two_dims(parameters.dims, model.latent_dim)


add(
    router,
    "/models/{name}/map",
    ["GET"],
    model_map,
    "The training latents of a model in a plane",
    describe_operation(
        ModelMapParameters,
        {**json_content(ModelMapAnswer), "application/x-npy": BINARY},
        {},
        path=MODEL_PATH,
        errors=(404, 409, 415, 422, 429, 500, 503),
    ),
    scope="infer",
    label="model_map",
    name="map_of_model",
)
