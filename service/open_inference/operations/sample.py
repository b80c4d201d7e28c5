"""sample: seeds in, generated data out. Knows nothing of bodies."""

from collections.abc import Collection
from typing import ClassVar, Literal

from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.latents.noise import MAX_SEED
from service.open_inference.datatypes import BYTES, WHOLE
from service.open_inference.errors import BadRequest
from service.open_inference.kinds.data_tensor import FP32
from service.open_inference.operations.operation import (
    HOTTEST,
    LABEL,
    Operation,
    Result,
    datatype_of,
    draws_data,
    label_of,
    of_data,
    stepping_of,
    written,
)
from service.open_inference.request import InferRequest
from service.open_inference.specs import ANY, Spec
from service.open_inference.tensors import Tensor, numbers, strings
from service.operations import generate as operations
from service.operations.service import Service

# The temperature of the steps of drawings and texts, unless one is stated: that of /sample.
SAMPLED = 0.7


class Sample(Operation):
    """Data of latents that are drawn from the prior, one for each seed: what /sample?n=1 answers for that seed."""

    name: ClassVar[str] = "sample"
    lane: ClassVar[Literal["encode", "decode"]] = "decode"

    def own_inputs(self, model: ServedModel) -> list[Spec]:
        return [Spec("seed", "INT64", (ANY,))]

    def on_request(self, model: ServedModel) -> list[Spec]:
        labels = [Spec(LABEL, BYTES, (ANY,))] if model.condition is not None else []
        return [Spec("z", FP32, (ANY, model.latent_dim)), *labels]

    def own_parameters(self, model: ServedModel) -> frozenset[str]:
        return (of_data(model) - {"seed"}) | {"temperature", "prior", LABEL}

    async def run(self, service: Service, inference: Inference, request: InferRequest, wanted: Collection[str]) -> Result:
        model, parameters = inference.model, request.parameters
        seeds = _seeds(request.inputs["seed"])
        temperature = 1.0
        if model.kind.steps:
            inference.stepping = stepping_of(model, parameters, SAMPLED)
        else:
            stated = parameters.number("temperature", 0.0, HOTTEST)
            temperature = 1.0 if stated is None else stated
        labels, label = label_of(request, len(seeds)), None
        if model.condition is not None:
            inference.label = labels
        elif labels is not None:
            label = labels[0]
        datatype, prior = datatype_of(parameters), parameters.text("prior")
        data: operations.DataKind = "sample" if draws_data(parameters) else "mean"
        samples = await operations.sample_each(service.pipeline, inference, seeds, temperature, prior, label, data)
        tensor = await written(service, model, samples.decoded, datatype, (len(seeds),))
        found = {tensor.name: tensor, "z": numbers("z", FP32, samples.z)}
        if samples.labels is not None:
            found[LABEL] = strings(LABEL, [one.encode() for one in samples.labels])
        return Result(found, {"prior": samples.prior})


def _seeds(tensor: Tensor) -> list[int]:
    """Return the seeds of an input, [N] or [N, 1]. Raises BadRequest."""
    if tensor.datatype not in WHOLE or len(tensor.shape) > 2 or tensor.shape[1:] not in ((), (1,)):
        raise BadRequest(f"input 'seed' is {tensor.datatype} {list(tensor.shape)}, but INT64 [N] is needed")
    found = [int(one) for one in tensor.numbers.reshape(-1).tolist()]
    if not all(0 <= one <= MAX_SEED for one in found):
        raise BadRequest(f"input 'seed': seeds are whole numbers from 0 to {MAX_SEED} (2^53 - 1)")
    return found
