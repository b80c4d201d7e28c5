"""interpolate: latents in, the data of paths through them out. Knows nothing of bodies."""

from collections.abc import Collection
from typing import ClassVar, Literal

from service.formats.latent_rows import latent_rows
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.latents.interpolation import METHODS
from service.open_inference.errors import BadRequest
from service.open_inference.kinds import data_of
from service.open_inference.kinds.data_tensor import FP32
from service.open_inference.operations.operation import (
    Operation,
    Result,
    datatype_of,
    label_of,
    latents_of,
    of_data,
    seed_parameter,
    stepping_of,
    written,
)
from service.open_inference.request import InferRequest
from service.open_inference.specs import ANY, Spec
from service.open_inference.tensors import numbers
from service.operations import interpolate as operations
from service.operations.service import Service

STEPS = 8


class Interpolate(Operation):
    """Data along paths. Each item is a path through K >= 2 latents, [N, K, D]; one path may also be [K, D]."""

    name: ClassVar[str] = "interpolate"
    lane: ClassVar[Literal["encode", "decode"]] = "decode"

    def own_inputs(self, model: ServedModel) -> list[Spec]:
        return [Spec("z", FP32, (ANY, 2, model.latent_dim))]

    def outputs(self, model: ServedModel) -> list[Spec]:
        one = data_of(model).spec(model)
        return [Spec(one.name, one.datatype, (ANY, *one.shape))]

    def on_request(self, model: ServedModel) -> list[Spec]:
        return [Spec("z", FP32, (ANY, ANY, model.latent_dim))]

    def own_parameters(self, model: ServedModel) -> frozenset[str]:
        return (of_data(model) - {"pixels"} - (set() if model.kind.steps else {"seed"})) | {"steps", "method"}

    async def run(self, service: Service, inference: Inference, request: InferRequest, wanted: Collection[str]) -> Result:
        model, parameters, given = inference.model, request.parameters, latents_of(request.inputs["z"])
        if given.ndim not in (2, 3) or given.shape[-2] < 2 or given.shape[-1] != model.latent_dim:
            raise BadRequest(
                f"input 'z' has the shape {list(given.shape)}, but [N, K, {model.latent_dim}] is needed: N paths through K "
                f"latents each, at least 2; or [K, {model.latent_dim}] for one path"
            )
        count, points = 1 if given.ndim == 2 else len(given), given.shape[-2]
        z = latent_rows(given.reshape(-1, given.shape[-1]), model.latent_dim).reshape(count, points, -1)
        steps = parameters.whole("steps", max(STEPS, points), 2, service.pipeline.max_items)
        if steps < points:
            raise BadRequest(f"steps is {steps}, but a path through {points} latents needs at least {points}")
        method = parameters.word("method", tuple(METHODS)) or ("slerp" if model.kind.steps else "linear")
        inference.label, inference.stepping = label_of(request, count), stepping_of(model, parameters)
        datatype = datatype_of(parameters)
        frames = await operations.interpolate_each(service.pipeline, inference, z, steps, method)
        leading = (steps,) if given.ndim == 2 else (count, steps)
        tensor = await written(service, model, frames.decoded, datatype, leading)
        path = numbers("z", FP32, frames.z.reshape(*leading, -1))
        seed = inference.stepping.seed if inference.stepping.temperature else None
        return Result({tensor.name: tensor, "z": path}, dict(seed_parameter(seed)))
