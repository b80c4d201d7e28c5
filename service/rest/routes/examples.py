"""/models/{name}/examples: pictures to try a model with."""

import hashlib
from functools import partial

import numpy as np

from models.preprocess import Pixels
from service.http.call import Answer, Call
from service.inference.pipeline import Inference
from service.inference.served_model import Floats
from service.operations.service import Service
from service.rest.answers import items_answer
from service.rest.etags import cache_headers, not_modified
from service.rest.model_schemas import ExampleParameters
from service.rest.negotiation import Format, answer_format
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
    pictures = np.empty((0, *model.manifest.model.shape), np.uint8) if model.examples is None else model.examples
    if parameters.format == "png" and not len(pictures):
        raise BadParameter(
            f"format: the model {model.name!r} has no example pictures, so there is no PNG of them; choose json or npy. "
            "Example pictures are those of golden.safetensors, which python -m models.evaluate PATH writes"
        )
    offered: tuple[Format, ...] = ("json", "npy", "png") if len(pictures) else ("json", "npy")
    accept = call.headers.get("accept", "")
    form = answer_format(parameters.format, accept, offered)
    scale = choose_scale(parameters, form, accept, len(pictures), model.shape)
    digest = hashlib.sha256(pictures.tobytes()).hexdigest()
    cached = cache_headers(parameters, form, scale, service.pipeline.version, model.label, digest)
    unchanged = not_modified(call, {"x-model": model.label, **cached})
    if unchanged is not None:
        return unchanged
    pixels: Pixels | Floats = pictures.transpose(0, 2, 3, 1)  # (N, H, W, C)
    if form == "npy" and parameters.dtype == "float32":
        pixels = np.divide(pixels, 255, dtype=np.float32)
    render = partial(items_answer, pixels, form, Inference(model), parameters, headers=dict(cached), scale=scale)
    return await service.pipeline.offload(pixels.nbytes * scale**2, render)


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
