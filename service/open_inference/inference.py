"""POST /v2/models/{model}/infer: tensors in, tensors out."""

import time
from collections.abc import Sequence
from functools import partial

import orjson

from models.ink import Invert
from models.transparency import Background
from service.http.call import Answer, Call, header_timeout
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.observe.printable import short
from service.open_inference import names
from service.open_inference.answers import infer_answer
from service.open_inference.datatypes import BYTES
from service.open_inference.errors import BadRequest
from service.open_inference.operations.operation import Operation, Result
from service.open_inference.parameters import Parameters
from service.open_inference.query import query_timeout
from service.open_inference.request import HEADER, InferRequest, OutputForm, RawInput, read_request, stated_length
from service.open_inference.specs import ANY, Spec
from service.open_inference.statistics import Statistics
from service.open_inference.tensors import Tensor
from service.operations.service import Service
from service.suggestion import suggestion

# How long a number takes to write as JSON.
BYTES_PER_NUMBER = 16
BACKGROUNDS: Sequence[Background] = ("black", "white", "auto")
INVERTS: Sequence[Invert] = ("no", "yes", "auto")
# The parameter of an answer with what is unusual about its items: a JSON text, as `warnings` in the REST API.
WARNINGS = "warnings"


async def infer(statistics: Statistics, service: Service, call: Call) -> Answer:
    """Answer an inference request, and count it if that succeeds; see `Counted` for those that fail."""
    name, model, operation = names.find(service.pipeline.catalog, call.path)
    request = await _read(service, call, model, operation)
    wanted = _wanted(request, model, operation)
    inference = _inference(call, model, operation, request)
    read = time.monotonic()
    result = await operation.run(service, inference, request, wanted)
    ran = time.monotonic()
    answer = await _write(service, call, name, request, wanted, result, inference)
    ended = time.monotonic()
    queue, compute = call.timings.queue, call.timings.compute
    # What a request did beside waiting and computing was preparing its items for the engine.
    prepared = max(0.0, ran - call.started - queue - compute)
    rows = next(iter(request.inputs.values())).shape[0]
    counts = statistics.of(model, operation)
    counts.succeeded(rows, max(prepared, read - call.started), queue, compute, ended - ran, ended - call.started)
    return answer


async def _read(service: Service, call: Call, model: ServedModel, operation: Operation) -> InferRequest:
    """Return the request of a call, whose inputs are those of the operation. Raises what `read_request` does."""
    length, specs = stated_length(call.headers.get(HEADER), call.body), operation.inputs(model)
    read = partial(
        read_request, call.body, length, operation.parameters(model), service.pipeline.max_items, _raw_input(specs, call.body)
    )
    request = await service.pipeline.offload(len(call.body), read)
    known = [one.name for one in specs]
    for given in request.inputs.keys() - set(known):
        raise BadRequest(_unknown("input", given, known))
    for one in specs:
        if not one.optional and one.name not in request.inputs:
            raise BadRequest(f"the input {one.name!r} is missing")
    return request


def _raw_input(specs: Sequence[Spec], body: bytes) -> RawInput | None:
    """Return the only required input of a request that is nothing but its data, one item; None if its shape is not known."""
    needed = [one for one in specs if not one.optional]
    if len(needed) != 1 or ANY in needed[0].shape[1:]:
        return None
    (one,) = needed
    return RawInput(one.name, one.datatype, (1,) if one.datatype == BYTES else (1, *one.shape[1:]))


def _wanted(request: InferRequest, model: ServedModel, operation: Operation) -> dict[str, OutputForm]:
    """Return the outputs of the answer in their order. Raises BadRequest."""
    default = [one.name for one in operation.outputs(model)]
    if not request.outputs:
        return dict.fromkeys(default, OutputForm(request.binary))
    known = [*default, *(one.name for one in operation.on_request(model))]
    for name in request.outputs:
        if name not in known:
            raise BadRequest(_unknown("output", name, known))
    return request.outputs


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    hint = suggestion(name, known, f"the {what}s of this model are {', '.join(known)}")
    return f"there is no {what} {short(name)}; {hint}"


def _inference(call: Call, model: ServedModel, operation: Operation, request: InferRequest) -> Inference:
    """Return the work with its deadline: the earliest one of `timeout`, `timeout_ms` and X-Timeout-Ms. Raises BadRequest."""
    deadlines = [] if request.timeout is None else [call.started + request.timeout]
    stated = query_timeout(call), header_timeout(call, BadRequest)
    deadlines += [call.started + milliseconds / 1000 for milliseconds in stated if milliseconds is not None]
    deadline = min(deadlines, default=None)
    call.limit(deadline)
    inference = Inference(model, deadline, call.timings)
    if operation.takes_data and model.is_pictures:
        inference.background, inference.invert = _preprocessing(request.parameters)
    return inference


def _preprocessing(parameters: Parameters) -> tuple[Background | None, Invert | None]:
    background, invert = parameters.word("background", BACKGROUNDS), parameters.word("invert", INVERTS)
    return (
        next((one for one in BACKGROUNDS if one == background), None),
        next((one for one in INVERTS if one == invert), None),
    )


async def _write(
    service: Service,
    call: Call,
    name: str,
    request: InferRequest,
    wanted: dict[str, OutputForm],
    result: Result,
    inference: Inference,
) -> Answer:
    outputs = [(result.outputs[one], form) for one, form in wanted.items()]
    timings = call.timings
    headers = {
        "x-model": inference.model.label,
        "server-timing": f"queue;dur={timings.queue * 1e3:.3f}, compute;dur={timings.compute * 1e3:.3f}",
    }
    parameters = result.parameters
    if warnings := inference.warnings.json():
        headers["x-warnings"] = str(len(warnings))
        parameters = parameters | {WARNINGS: orjson.dumps(warnings).decode()}  # The protocol has no lists in parameters.
    accept = call.headers.get("accept-encoding", "")
    size = sum(_cost(tensor, form) for tensor, form in outputs)
    write = partial(infer_answer, name, request.id, outputs, parameters, accept, headers)
    return await service.pipeline.offload(size, write)


def _cost(tensor: Tensor, form: OutputForm) -> int:
    """Return how long an output takes to write, as bytes of JSON that take as long."""
    numbers = tensor.numbers
    plain = form.binary and not form.classes
    return sum(map(len, tensor.elements)) + (numbers.nbytes if plain else BYTES_PER_NUMBER * numbers.size)
