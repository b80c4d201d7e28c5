"""The interface of a data tensor: how the data of one kind are read from an input and written into an output.

Knows nothing of operations.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import orjson
from numpy.typing import NDArray

from service.formats.errors import Undecodable
from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.open_inference.datatypes import BYTES
from service.open_inference.errors import BadRequest
from service.open_inference.specs import Spec
from service.open_inference.tensors import Tensor

UINT8, FP32 = "UINT8", "FP32"


class DataTensor(ABC):
    """How the data of one kind travel. There is one instance of each, in `TENSORS`."""

    name: ClassVar[str]  # of the tensor, in inputs and outputs
    parameters: ClassVar[frozenset[str]] = frozenset()  # of requests with such an input
    of_outputs: ClassVar[frozenset[str]] = frozenset()  # of requests with such an output
    of_reconstructions: ClassVar[frozenset[str]] = frozenset()  # of requests for reconstructions

    @abstractmethod
    def spec(self, model: ServedModel) -> Spec:
        """Return the name, the datatype and the shape (items, ...) of inputs and outputs."""

    @abstractmethod
    def read(self, model: ServedModel, tensor: Tensor) -> RawItems:
        """Return the items of an input. Raises BadRequest, BadInput."""

    @abstractmethod
    def write(self, model: ServedModel, data: NDArray[Any], datatype: str | None, leading: tuple[int, ...]) -> Tensor:
        """Return data (N, ...) as an output. `leading`: the first sizes of its shape, whose product is N.

        `datatype`: the one that the request wants, None for that of `spec`.
        """

    def reconstructed(self, originals: NDArray[Any], data: NDArray[Any], whole: bool) -> NDArray[Any]:
        """Return the data of an answer about reconstructions. `originals`: their rows. `whole`: nothing sent stays."""
        return data


def elements_of(tensor: Tensor) -> Sequence[bytes]:
    """Return the elements of an input of BYTES, one for each item: [N], or [N, 1] as some clients send. Raises BadRequest."""
    shape = tensor.shape
    if tensor.datatype != BYTES:
        raise BadRequest(f"input {tensor.name!r} must be BYTES, not {tensor.datatype}")
    if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
        raise BadRequest(f"input {tensor.name!r} must have the shape [N] or [N, 1], not {list(shape)}")
    return tensor.elements


def text_of(element: bytes, item: int) -> str:
    """Return an element that is text. Raises Undecodable."""
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"it is not UTF-8: {error.reason} at byte {error.start}", item) from None


def json_of(element: bytes, item: int) -> Any:
    """Return an element that is JSON. Raises Undecodable."""
    try:
        return orjson.loads(element)
    except orjson.JSONDecodeError as error:
        raise Undecodable(f"it is not JSON: {error}", item) from None
