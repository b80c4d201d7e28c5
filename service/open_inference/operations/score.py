"""score: data in, how unusual each item is out. Knows nothing of bodies."""

from collections.abc import Collection
from typing import ClassVar, Literal

import numpy as np

from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.latents.noise import MAX_SEED
from service.open_inference.errors import BadRequest
from service.open_inference.kinds.data_tensor import FP32
from service.open_inference.operations.operation import Operation, Result, items_of, label_of
from service.open_inference.request import InferRequest
from service.open_inference.specs import ANY, Spec
from service.open_inference.tensors import numbers
from service.operations import score as operations
from service.operations.service import Service

P_VALUE = "p_value"
AFTER = f"_{P_VALUE}"  # the output knn_p_value is the p-value of knn


class Score(Operation):
    """Scores of data: the default ones and, of a model with a calibration, p_value, that of all of them together."""

    name: ClassVar[str] = "score"
    lane: ClassVar[Literal["encode", "decode"]] = "encode"
    takes_data: ClassVar[bool] = True

    def outputs(self, model: ServedModel) -> list[Spec]:
        own = () if model.calibration is None else (P_VALUE,)
        return [Spec(name, FP32, (ANY,)) for name in (*operations.default_scores(model), *own)]

    def on_request(self, model: ServedModel) -> list[Spec]:
        others = [name for name in operations.known_scores(model) if name not in operations.default_scores(model)]
        if model.calibration is None:
            others = [name for name in others if name not in operations.NEAR]
        calibrated = () if model.calibration is None else tuple(model.calibration.held_out)
        return [Spec(name, FP32, (ANY,)) for name in (*others, *(f"{name}{AFTER}" for name in calibrated))]

    def own_parameters(self, model: ServedModel) -> frozenset[str]:
        return frozenset(("samples", "seed"))

    async def run(self, service: Service, inference: Inference, request: InferRequest, wanted: Collection[str]) -> Result:
        model = inference.model
        items = await items_of(service, model, request)
        inference.label = label_of(request, len(items))
        names = {name.removesuffix(AFTER) for name in wanted if name != P_VALUE}
        if P_VALUE in wanted:
            names |= set(operations.default_scores(model))
        asked = request.parameters.maybe_whole("samples", 1, operations.MOST_SAMPLES)
        if asked is not None and not names & set(operations.DRAWN):
            raise BadRequest(
                f"samples is for the scores elbo and iwae, but the outputs are {', '.join(wanted)}: leave it out, or "
                "ask for the output iwae"
            )
        samples, seed = operations.samples_of(model, asked), request.parameters.whole("seed", 0, 0, MAX_SEED)
        scored = await operations.score(service.pipeline, service.regrets, inference, items, names, samples, seed)
        values = {**scored.values, **{f"{name}{AFTER}": found for name, found in scored.p_values.items()}}
        if scored.p_value is not None:
            values[P_VALUE] = scored.p_value
        # Bounds of another number of samples than that of the calibration have no p-values.
        missing = np.full(len(items), np.nan, np.float32)
        return Result({name: numbers(name, FP32, values.get(name, missing)) for name in wanted})
