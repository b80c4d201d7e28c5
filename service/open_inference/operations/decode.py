"""decode: latents in, data out. Knows nothing of bodies."""

from collections.abc import Collection
from typing import ClassVar, Literal

from service.formats.latent_rows import latent_rows
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.latents import noise as seeds
from service.open_inference.kinds.data_tensor import FP32
from service.open_inference.operations.operation import (
    Operation,
    Result,
    datatype_of,
    draws_data,
    label_of,
    latents_of,
    of_data,
    seed_of,
    seed_parameter,
    stepping_of,
    written,
)
from service.open_inference.request import InferRequest
from service.open_inference.specs import ANY, Spec
from service.operations import generate as operations
from service.operations.service import Service


class Decode(Operation):
    """Data of latents: means of p(x given z), or with pixels=sample draws from it."""

    name: ClassVar[str] = "decode"
    lane: ClassVar[Literal["encode", "decode"]] = "decode"

    def own_inputs(self, model: ServedModel) -> list[Spec]:
        return [Spec("z", FP32, (ANY, model.latent_dim))]

    def own_parameters(self, model: ServedModel) -> frozenset[str]:
        return of_data(model)

    async def run(self, service: Service, inference: Inference, request: InferRequest, wanted: Collection[str]) -> Result:
        model, parameters = inference.model, request.parameters
        z = latent_rows(latents_of(request.inputs["z"]), model.latent_dim)
        inference.label, inference.stepping = label_of(request, len(z)), stepping_of(model, parameters)
        datatype, seed = datatype_of(parameters), None
        if draws_data(parameters):
            asked = seed_of(parameters)
            seed = seeds.draw_seed() if asked is None else asked
        made = await operations.decode(service.pipeline, inference, z, seed)
        tensor = await written(service, model, made, datatype, (len(z),))
        if inference.stepping.temperature:
            seed = inference.stepping.seed
        return Result({tensor.name: tensor}, dict(seed_parameter(seed)))
