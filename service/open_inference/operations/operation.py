"""The interface of an operation: its inputs, outputs and parameters, and what it does. Knows nothing of bodies."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.inference.stepping import GREEDY, Stepping
from service.inference.told import check_count
from service.latents import noise as seeds
from service.latents.noise import MAX_SEED
from service.open_inference.datatypes import BYTES, FLOATS, WHOLE
from service.open_inference.errors import BadRequest
from service.open_inference.kinds import data_of
from service.open_inference.kinds.data_tensor import FP32, UINT8, elements_of, text_of
from service.open_inference.parameters import Parameters
from service.open_inference.request import InferRequest
from service.open_inference.specs import ANY, Spec
from service.open_inference.tensors import Tensor
from service.operations.service import Service

LABEL = "label"
HOTTEST = 100.0
# Reading or writing a number of a row, drawing or text takes about as long as so many bytes of JSON.
BYTES_PER_NUMBER = 64
Value = str | int | float | bool


@dataclass(slots=True)
class Result:
    """Outputs by name, and parameters of the answer."""

    outputs: dict[str, Tensor]
    parameters: dict[str, Value] = field(default_factory=dict)


class Operation(ABC):
    """What a model can do. There is one instance of each, in `OPERATIONS`."""

    name: ClassVar[str]
    lane: ClassVar[Literal["encode", "decode"]]  # the queue of the engine that most of its work goes through
    takes_data: ClassVar[bool] = False  # pictures, rows, drawings or texts, not latents or seeds

    def serves(self, model: ServedModel) -> bool:
        """Return whether a model has this operation."""
        return True

    def own_inputs(self, model: ServedModel) -> list[Spec]:
        """Return the inputs, but for the labels of conditional models. By default they are data."""
        return [data_of(model).spec(model)]

    def outputs(self, model: ServedModel) -> list[Spec]:
        """Return the outputs of a request that names none. By default they are data."""
        return [data_of(model).spec(model)]

    @abstractmethod
    def own_parameters(self, model: ServedModel) -> frozenset[str]:
        """Return the names of the parameters of this operation alone."""

    @abstractmethod
    async def run(self, service: Service, inference: Inference, request: InferRequest, wanted: Collection[str]) -> Result:
        """Return the wanted outputs. Raises BadRequest, and whatever the operation raises."""

    def inputs(self, model: ServedModel) -> list[Spec]:
        """Return the inputs. The label of a conditional model may also be a parameter."""
        if model.condition is None:
            return self.own_inputs(model)
        return [*self.own_inputs(model), Spec(LABEL, BYTES, (ANY,), optional=True)]

    def on_request(self, model: ServedModel) -> list[Spec]:
        """Return the outputs that are only there if a request names them."""
        return []

    def parameters(self, model: ServedModel) -> frozenset[str]:
        """Return the names of all parameters."""
        own = self.own_parameters(model)
        if model.condition is not None:
            own |= {LABEL}
        return own | data_of(model).parameters if self.takes_data else own


def label_of(request: InferRequest, count: int) -> tuple[str, ...] | None:
    """Return the labels of a request: one, or one for each of `count` items; None if it has none. Raises BadRequest."""
    tensor, stated = request.inputs.get(LABEL), request.parameters.text(LABEL)
    if tensor is None:
        return None if stated is None else (stated,)
    if stated is not None:
        raise BadRequest("label is both an input and a parameter; send one of them")
    if tensor.datatype in WHOLE and len(tensor.shape) == 1:
        found = tuple(str(one) for one in tensor.numbers.tolist())
    else:
        found = tuple(text_of(element, item) for item, element in enumerate(elements_of(tensor)))
    check_count(found, count)
    return found


async def items_of(service: Service, model: ServedModel, request: InferRequest) -> RawItems:
    """Return the items of a request, which a thread reads if they are many. Raises BadRequest, BadInput."""
    data = data_of(model)
    tensor = request.inputs[data.name]
    size = 0 if model.is_pictures else BYTES_PER_NUMBER * tensor.numbers.size + sum(map(len, tensor.elements))
    return await service.pipeline.offload(size, partial(data.read, model, tensor))


async def written(
    service: Service, model: ServedModel, data: NDArray[Any], datatype: str | None, leading: tuple[int, ...]
) -> Tensor:
    """Return data (N, ...) as an output, see `DataTensor.write`; a thread writes them if they are many."""
    size = data.nbytes if model.is_pictures else BYTES_PER_NUMBER * data.size
    return await service.pipeline.offload(size, partial(data_of(model).write, model, data, datatype, leading))


def latents_of(tensor: Tensor) -> NDArray[Any]:
    """Return the numbers of an input of latents. Raises BadRequest."""
    if tensor.datatype not in FLOATS:
        raise BadRequest(f"input {tensor.name!r} must be one of {', '.join(FLOATS)}, not {tensor.datatype}")
    return tensor.numbers


def seed_of(parameters: Parameters) -> int | None:
    """Return the seed of a request, None if it has none. Raises BadRequest."""
    return parameters.maybe_whole("seed", 0, MAX_SEED)


def datatype_of(parameters: Parameters) -> str | None:
    """Return the datatype of pictures that a request wants, None for the usual one. Raises BadRequest."""
    return parameters.word("dtype", (UINT8, FP32))


def of_data(model: ServedModel) -> frozenset[str]:
    """Return the names of the parameters that say how data are made of latents."""
    steps = ("temperature", "max_length") if model.kind.steps else ("pixels",)
    return data_of(model).of_outputs | {"seed", *steps}


def stepping_of(model: ServedModel, parameters: Parameters, usual: float = 0.0) -> Stepping:
    """Return how the sequences of a request are made. `usual`: the temperature unless one is stated. Raises BadRequest."""
    if not model.kind.steps:
        return GREEDY
    stated = parameters.number("temperature", 0.0, HOTTEST)
    temperature = usual if stated is None else stated
    seed = seed_of(parameters) if "seed" in parameters else None
    if seed is None and temperature:
        seed = seeds.draw_seed()
    return Stepping(temperature, seed or 0, parameters.maybe_whole("max_length", 1, model.manifest.model.shape[0]))


def draws_data(parameters: Parameters) -> bool:
    """Return whether data are drawn from p(x given z); otherwise they are its means. Raises BadRequest."""
    return parameters.word("pixels", ("mean", "sample")) == "sample"


def seed_parameter(seed: int | None) -> Mapping[str, Value]:
    """Return the parameter of an answer that says which seed draws it again."""
    return {} if seed is None else {"seed": seed}
