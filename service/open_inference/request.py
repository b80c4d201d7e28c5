"""The body of an inference request -> inputs, parameters and the outputs that are asked for, all checked.

Knows nothing of what a model does with them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.formats.errors import Undecodable
from service.formats.json_size import check_size
from service.formats.json_values import json_object
from service.http.content_coding import compression_of
from service.json_types import json_type
from service.observe.printable import short
from service.open_inference.datatypes import BYTES
from service.open_inference.errors import BadRequest
from service.open_inference.parameters import OF_REQUESTS, Parameters, check_keys
from service.open_inference.tensors import LENGTH_BYTES, Tensor, checked_shape, from_binary, from_json

# The length of the JSON at the beginning of the body; binary data follow.
HEADER = "inference-header-content-length"
# The keys of a request, an input and an output.
KEYS = frozenset(("id", "parameters", "inputs", "outputs"))
INPUT_KEYS, OUTPUT_KEYS = frozenset(("name", "shape", "datatype", "data", "parameters")), frozenset(("name", "parameters"))
OF_INPUTS, OF_OUTPUTS = frozenset(("binary_data_size",)), frozenset(("binary_data", "classification"))
MOST_INPUTS = 16
ALL_CLASSES = (1 << 32) - 1  # the protocol's largest number; an answer has as many as there are
DAY = 86_400_000_000  # microseconds
INSTEAD = "send them as binary data (binary_data_size)"


@dataclass(frozen=True, slots=True)
class OutputForm:
    """How an output is answered. `classes`: 0, or how many of the largest numbers of each item, instead of all of them."""

    binary: bool
    classes: int = 0


@dataclass(slots=True)
class InferRequest:
    """A request. `outputs`: those that it names, in the order of the answer; empty: the default outputs."""

    id: str | None
    parameters: Parameters
    inputs: dict[str, Tensor]
    outputs: dict[str, OutputForm] = field(default_factory=dict)
    binary: bool = False  # of outputs that the request does not name
    timeout: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class RawInput:
    """The only input of a model, for a request that is its binary data and nothing else: one item."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def stated_length(header: str | None, body: bytes) -> int:
    """Return the length of the JSON in a body, all of it without the header. Raises BadRequest."""
    stated = str(len(body)) if header is None else header.strip()
    if header is None or stated.strip("0"):  # With 0, the body is data of any kind.
        _check_not_compressed(body)
    if not (stated.isascii() and stated.isdigit() and len(stated) < 19) or int(stated) > len(body):
        raise BadRequest(
            "Inference-Header-Content-Length must be one number, the length of the JSON at the beginning of the body, which "
            f"has {len(body)} bytes, not {short(stated)}"
        )
    return int(stated)


def _check_not_compressed(body: bytes) -> None:
    """Raise BadRequest if a body whose content coding is undone, or that has none, is compressed."""
    if compression := compression_of(body):
        raise BadRequest(
            f"the body begins with {compression} data, where JSON was expected: either it was compressed twice, or the header "
            "Content-Encoding is missing; compress the whole body once, and send Content-Encoding: gzip or deflate"
        )


def read_request(
    body: bytes, length: int, known_parameters: Collection[str], max_items: int, raw: RawInput | None
) -> InferRequest:
    """Return the request in a body whose first `length` bytes are JSON. `raw`: for 0, see RawInput.

    Raises BadRequest, BadInput, TooManyValues, TooLarge.
    """
    if not length and body:
        return _raw_request(body, raw, known_parameters, max_items)
    if not body:
        raise BadRequest('the body is empty: send {"inputs": [{"name", "shape", "datatype", "data"}]}')
    text = body if length == len(body) else body[:length]
    check_size(text, INSTEAD)
    try:
        values = json_object(text)
    except Undecodable as error:
        hint = ""
        if length == len(body) and b"\0" in body:
            hint = "; with binary data, Inference-Header-Content-Length must say where the JSON ends"
        raise Undecodable(f"{error}{hint}") from None
    check_keys(values, KEYS, "the request")
    parameters = Parameters(values.get("parameters") or {}, "the request", {*OF_REQUESTS, *known_parameters})
    timeout = _check_extensions(parameters)
    inputs, rest = _inputs(values.get("inputs"), memoryview(body)[length:], max_items)
    if rest:
        raise BadRequest(
            f"the body has {rest} bytes after the last binary input; the sizes of the inputs (binary_data_size) must add up "
            f"to the {len(body) - length} bytes after the JSON"
        )
    binary = parameters.flag("binary_data_output")
    return InferRequest(_id(values), parameters, inputs, _outputs(values.get("outputs"), binary), binary, timeout)


def _id(values: dict[str, Any]) -> str | None:
    found = values.get("id")
    if found is not None and not isinstance(found, str):
        raise BadRequest(f"id must be a string, not {json_type(found)}")
    return found


def _check_extensions(parameters: Parameters) -> float | None:
    """Return the seconds after which to give up. Raises BadRequest for extensions that would be ignored."""
    parameters.refuse("priority", "requests have no priorities here: they take turns; leave it out")
    for name in ("sequence_id", "sequence_start", "sequence_end"):
        parameters.refuse(name, "models keep no state between requests; leave it out")
    microseconds = parameters.whole("timeout", 0, 0, DAY)
    return microseconds / 1e6 if microseconds else None


def _inputs(given: object, binary: memoryview, max_items: int) -> tuple[dict[str, Tensor], int]:
    """Return the inputs by name, and how many bytes of the binary data are left over."""
    found: dict[str, Tensor] = {}
    for one in _objects(given, "inputs", 'send {"inputs": [{"name", "shape", "datatype", "data"}]}'):
        name = _name(one, "an input")
        if name in found:
            raise BadRequest(f"input {name!r} is given twice")
        check_keys(one, INPUT_KEYS, f"input {name!r}")
        parameters = Parameters(one.get("parameters") or {}, f"input {name!r}", OF_INPUTS)
        datatype, size = one.get("datatype"), parameters.size("binary_data_size")
        shape = checked_shape(name, datatype, one.get("shape"), max_items)
        if size is None:
            if "data" not in one:
                raise BadRequest(f"input {name!r} has neither data nor the parameter binary_data_size")
            found[name] = from_json(name, str(datatype), shape, one["data"])
            continue
        if "data" in one:
            raise BadRequest(f"input {name!r} has both data and the parameter binary_data_size; send one of them")
        if size > len(binary):
            raise BadRequest(f"input {name!r} has binary_data_size {size}, but {len(binary)} bytes are left in the body")
        found[name] = from_binary(name, str(datatype), shape, binary[:size])
        binary = binary[size:]
    return found, len(binary)


def _outputs(given: object, binary: bool) -> dict[str, OutputForm]:
    """Return the outputs that are asked for. Raises BadRequest."""
    found: dict[str, OutputForm] = {}
    if given is None or given == []:
        return found
    for one in _objects(given, "outputs", 'send [{"name"}], or leave outputs out'):
        name = _name(one, "an output")
        if name in found:
            raise BadRequest(f"output {name!r} is asked for twice")
        check_keys(one, OUTPUT_KEYS, f"output {name!r}")
        parameters = Parameters(one.get("parameters") or {}, f"output {name!r}", OF_OUTPUTS)
        classes = parameters.whole("classification", 0, 0, ALL_CLASSES)
        found[name] = OutputForm(parameters.flag("binary_data", binary), classes)
    return found


def _objects(given: object, key: str, send: str) -> Sequence[dict[str, Any]]:
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        found = "missing" if given is None else "empty" if given == [] else json_type(given)
        raise BadRequest(f"{key} must be a list of objects, and it is {found}: {send}")
    if len(given) > MOST_INPUTS:
        raise BadRequest(f"{key} has {len(given)} entries, at most {MOST_INPUTS} are allowed")
    return given


def _name(one: dict[str, Any], what: str) -> str:
    name = one.get("name")
    if not isinstance(name, str) or not name:
        raise BadRequest(f"{what} has no name, which must be a string")
    return name[:100]


def _raw_request(body: bytes, raw: RawInput | None, known: Collection[str], max_items: int) -> InferRequest:
    """Return a request whose body is the data of the only input. All its outputs are binary."""
    if raw is None:
        raise BadRequest(
            "Inference-Header-Content-Length is 0, so the body would be the data of the only input, but this model has "
            "several inputs, or one whose shape cannot be told: send them with their names and shapes"
        )
    data = memoryview(body if raw.datatype != BYTES else len(body).to_bytes(LENGTH_BYTES, "little") + body)
    inputs = {raw.name: from_binary(raw.name, raw.datatype, raw.shape, data)}
    return InferRequest(None, Parameters({}, "the request", known), inputs, binary=True)
