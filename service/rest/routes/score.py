"""/score: pictures in, how unusual each is out."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.scores import UNITS
from service.formats import pictures as codecs
from service.formats import png
from service.formats.json_values import json_bytes
from service.http.call import Answer, Call
from service.inference.inference import Inference
from service.operations import score as operations
from service.operations.score import Scored, Seen
from service.operations.service import Service
from service.rest.answers import answer, warnings_of
from service.rest.arrangement import beside, enlarge
from service.rest.kinds import items_in, wire_of
from service.rest.negotiation import Format
from service.rest.parameters import BadParameter, read_parameters
from service.rest.registration import BINARY, ERRORS, PICTURE_BODIES, Router, add, describe_operation, json_content
from service.rest.requests import body_of, open_request
from service.rest.scaling import choose_scale
from service.rest.schemas import Layout
from service.rest.score_schemas import ScoreParameters, ScoresAnswer

router = Router(tags=["inference"])

# With fewer effective samples, a few draws carry the whole estimate, and it is called a bound.
FEWEST_EFFECTIVE = 5.0
NOTE = (
    "The model has no calibration that fits its weights, so these values have no p-values. Make one: python -m "
    "models.evaluate PATH --calibrate, with the PATH of its directory (and --data DATA, if the model was not trained by "
    "models.train); then load the model again."
)


async def score(service: Service, call: Call) -> Answer:
    """Say how unusual each picture is, by several scores, and how many held-out pictures are as unusual: the p-value.

    p_value at the top is that of the default scores together. Values below 0.01 are rare among pictures like those of the
    training. As PNG: each picture with its error map; scores, samples and seed make no difference to it.
    """
    body = await body_of(service, call, takes_text=True)
    parameters = read_parameters(ScoreParameters, call.query, *body.parameters(ScoreParameters))
    accept = call.headers.get("accept", "")
    inference = open_request(service, call, parameters)
    offered: tuple[Format, ...] = ("json", "png") if inference.model.is_pictures else ("json",)
    form = wire_of(inference.model).format(inference.model, parameters.format, accept, offered=offered)
    pictures = await items_in(service.pipeline, body, inference)
    if form == "png":
        scale = choose_scale(parameters, form, accept, len(pictures), inference.model.shape, compare=True)
        seen = await operations.compare(service.pipeline, inference, pictures)
        render = partial(_error_png, seen, parameters.layout, scale)
        return answer(await service.pipeline.offload(2 * seen.decoded.nbytes * scale**2, render), form, inference)
    wanted = parameters.scores or operations.default_scores(inference.model)
    if parameters.samples is not None and not set(wanted) & set(operations.DRAWN):
        raise BadParameter(
            f"samples is for the scores elbo and iwae, but the scores are {', '.join(sorted(wanted))}: leave it out, or add "
            "scores=iwae"
        )
    samples = operations.samples_of(inference.model, parameters.samples)
    found = await operations.score(
        service.pipeline, service.regrets, inference, pictures, parameters.scores, samples, parameters.seed
    )
    fields = _fields(found, inference, samples, parameters.seed)
    written = await service.pipeline.offload(16 * len(pictures) * len(found.values), partial(json_bytes, fields))
    return answer(written, form, inference)


def _fields(found: Scored, inference: Inference, samples: int, seed: int) -> dict[str, Any]:
    model, scores = inference.model, {}
    for name, values in found.values.items():
        p_values = found.p_values.get(name)
        one: dict[str, Any] = {
            "value": _float32(values),
            "p_value": None if p_values is None else _float32(p_values),
            "unit": UNITS[name],
        }
        if name in ("elbo", "iwae"):
            one |= {"samples": samples}
        if name in ("elbo", "iwae", "regret"):
            one |= {"seed": seed}
        if name == "iwae" and found.ess is not None:
            kinds = ["bound" if few else "likelihood" for few in (found.ess < FEWEST_EFFECTIVE).tolist()]
            one |= {"ess": _float32(found.ess), "kind": kinds}
        if name in found.parts:
            one |= wire_of(model).parts(model, found.parts[name])
        scores[name] = one
    calibrated = model.calibration is not None
    fields = {
        "model": model.name,
        "calibrated": calibrated,
        "p_value": None if found.p_value is None else _float32(found.p_value),
        "scores": scores,
    }
    return fields | ({} if calibrated else {"note": NOTE}) | warnings_of(inference)


def _float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)


def _error_png(seen: Seen, layout: Layout, scale: int) -> bytes:
    pictures = seen.x.transpose(0, 2, 3, 1)  # (N, H, W, C)
    errors = np.empty(pictures.shape, np.uint8)
    for i, (x, mean) in enumerate(zip(pictures, seen.decoded, strict=True)):  # one at a time, since float32 copies are large
        unit = x / np.float32(255) if x.dtype == np.uint8 else x
        errors[i] = codecs.to_uint8(np.abs(unit - mean))
    originals = pictures if pictures.dtype == np.uint8 else codecs.to_uint8(pictures)
    return png.write(enlarge(beside(originals, errors, layout), scale))


add(
    router,
    "/score",
    ["POST"],
    score,
    "How unusual pictures are: calibrated scores",
    describe_operation(
        ScoreParameters, {**json_content(ScoresAnswer), "image/png": BINARY}, PICTURE_BODIES, errors=(*ERRORS, 409)
    ),
    scope="infer",
    label="score",
    name="score",
)
