"""encode and encode_files: data in, posteriors out. Knows nothing of bodies."""

from collections.abc import Collection
from typing import ClassVar, Literal

import numpy as np

from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.open_inference.datatypes import BYTES
from service.open_inference.kinds import data_of
from service.open_inference.kinds.data_tensor import FP32
from service.open_inference.operations.operation import Operation, Result, items_of, label_of, seed_of, seed_parameter
from service.open_inference.request import InferRequest
from service.open_inference.specs import ANY, Spec
from service.open_inference.tensors import numbers
from service.operations import encode as operations
from service.operations.service import Service


class Encode(Operation):
    """Posteriors of data: mu and sigma; on request also logvar, z and kl."""

    name: ClassVar[str] = "encode"
    lane: ClassVar[Literal["encode", "decode"]] = "encode"
    takes_data: ClassVar[bool] = True

    def outputs(self, model: ServedModel) -> list[Spec]:
        return [Spec(name, FP32, (ANY, model.latent_dim)) for name in ("mu", "sigma")]

    def on_request(self, model: ServedModel) -> list[Spec]:
        return [*(Spec(name, FP32, (ANY, model.latent_dim)) for name in ("logvar", "z")), Spec("kl", FP32, (ANY,))]

    def own_parameters(self, model: ServedModel) -> frozenset[str]:
        return frozenset(("seed",))

    async def run(self, service: Service, inference: Inference, request: InferRequest, wanted: Collection[str]) -> Result:
        items = await items_of(service, inference.model, request)
        inference.label, asked = label_of(request, len(items)), seed_of(request.parameters)
        posteriors = await operations.encode(service.pipeline, inference, items)
        found = {name: numbers(name, FP32, getattr(posteriors, name)) for name in ("mu", "sigma", "logvar") if name in wanted}
        seed = None
        if "z" in wanted:
            seed, z = operations.draw_from_posterior(posteriors.mu, posteriors.sigma, asked)
            found["z"] = numbers("z", FP32, z)
        if "kl" in wanted:
            found["kl"] = numbers("kl", FP32, posteriors.kl_per_dim().sum(1).astype(np.float32))
        return Result(found, dict(seed_parameter(seed)))


class EncodeFiles(Encode):
    """The same of picture files such as PNG and JPEG, of any size."""

    name: ClassVar[str] = "encode_files"

    def serves(self, model: ServedModel) -> bool:
        return model.is_pictures

    def own_inputs(self, model: ServedModel) -> list[Spec]:
        return [Spec(data_of(model).name, BYTES, (ANY,))]
