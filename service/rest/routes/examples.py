"""/models/{name}/examples: data to try a model with."""

import hashlib
from functools import partial

import numpy as np

from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.operations.service import Service
from service.rest.answers import items_answer
from service.rest.etags import cache_headers, not_modified
from service.rest.kinds import answering, cost_of
from service.rest.model_schemas import ExampleParameters
from service.rest.parameters import BadParameter
from service.rest.paths import MODEL_PATH
from service.rest.registration import PICTURE_ANSWERS, Router, add, describe_operation
from service.rest.requests import query_parameters
from service.rest.scaling import choose_scale

router = Router(tags=["models"])


async def examples(service: Service, call: Call) -> Answer:
    """Return the test pictures that came with a model, as it sees them, at most 10. It is checked by them when it is loaded.

    A model that came without any has an empty list, and no PNG.
    """
    parameters = query_parameters(ExampleParameters, call)
    model = service.pipeline.catalog.get(call.path["name"])
    wire = answering(model, parameters.view)
    none = np.empty((0, *model.manifest.model.shape), model.kind.example.dtype)
    rows = none if model.examples is None else model.examples
    if parameters.format not in (None, "json", "npy") and not len(rows):
        raise BadParameter(
            f"format: the model {model.name!r} has no examples, so there is no {parameters.format.upper()} of them; choose "
            "json. Examples are those of golden.safetensors, which python -m models.evaluate PATH writes"
        )
    offered = wire.formats if len(rows) else tuple(form for form in wire.formats if form in ("json", "npy"))
    accept = call.headers.get("accept", "")
    form = wire.format(model, parameters.format, accept, offered=offered)
    scale = choose_scale(parameters, form, accept, len(rows), model.shape)
    digest = hashlib.sha256(rows.tobytes()).hexdigest()
    cached = cache_headers(parameters, form, scale, service.pipeline.version, model.label, digest)
    unchanged = not_modified(call, {"x-model": model.label, **cached})
    if unchanged is not None:
        return unchanged
    data = rows.transpose(0, 2, 3, 1) if model.is_pictures else rows  # (N, H, W, C) of pictures
    render = partial(items_answer, data, form, Inference(model), parameters, headers=dict(cached), scale=scale)
    return await service.pipeline.offload(cost_of(Inference(model), data, form, parameters.view, scale), render)


add(
    router,
    "/models/{name}/examples",
    ["GET"],
    examples,
    "Pictures to try a model with",
    describe_operation(ExampleParameters, PICTURE_ANSWERS, {}, path=MODEL_PATH, errors=(404, 415, 422, 500, 503)),
    tagged=True,
    scope="infer",
    label="examples",
    name="examples_of_model",
)
