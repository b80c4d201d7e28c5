"""reconstruct: data in, and out as the model sees them. Knows nothing of bodies."""

from collections.abc import Collection
from typing import ClassVar, Literal

import numpy as np

from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.open_inference.kinds import data_of
from service.open_inference.operations.operation import (
    Operation,
    Result,
    datatype_of,
    draws_data,
    items_of,
    label_of,
    of_data,
    seed_of,
    seed_parameter,
    stepping_of,
    written,
)
from service.open_inference.request import InferRequest
from service.operations import reconstruct as operations
from service.operations.service import Service


class Reconstruct(Operation):
    """Data encoded and decoded again: at mu, or with mode=sample at a draw from the posterior."""

    name: ClassVar[str] = "reconstruct"
    lane: ClassVar[Literal["encode", "decode"]] = "encode"
    takes_data: ClassVar[bool] = True

    def own_parameters(self, model: ServedModel) -> frozenset[str]:
        return of_data(model) | data_of(model).of_reconstructions | {"mode"}

    async def run(self, service: Service, inference: Inference, request: InferRequest, wanted: Collection[str]) -> Result:
        model, parameters = inference.model, request.parameters
        data = data_of(model)
        items = await items_of(service, model, request)
        inference.label, inference.stepping = label_of(request, len(items)), stepping_of(model, parameters)
        mode: Literal["mean", "sample"] = "sample" if parameters.word("mode", ("mean", "sample")) == "sample" else "mean"
        whole, datatype = parameters.word("cells", ("missing", "all")) == "all", datatype_of(parameters)
        kind: Literal["mean", "sample"] = "sample" if draws_data(parameters) else "mean"
        steps = inference.stepping
        seed = steps.seed if steps.temperature else seed_of(parameters)
        made = await operations.reconstruct(service.pipeline, inference, items, mode, seed, kind)
        shown = data.reconstructed(np.concatenate(made.originals), made.decoded, whole) if made.originals else made.decoded
        tensor = await written(service, model, shown, datatype, (len(items),))
        return Result({tensor.name: tensor}, dict(seed_parameter(steps.seed if steps.temperature else made.seed)))
