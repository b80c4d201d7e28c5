"""Texts as tensors: BYTES in UTF-8. Knows nothing of operations."""

from typing import Any, ClassVar

from numpy.typing import NDArray

from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.open_inference.datatypes import BYTES
from service.open_inference.kinds.data_tensor import DataTensor, elements_of, text_of
from service.open_inference.specs import ANY, Spec
from service.open_inference.tensors import Tensor, strings


class TextTensor(DataTensor):
    """Texts travel as BYTES [N]."""

    name: ClassVar[str] = "text"

    def spec(self, model: ServedModel) -> Spec:
        return Spec(self.name, BYTES, (ANY,))

    def read(self, model: ServedModel, tensor: Tensor) -> RawItems:
        return RawItems([text_of(element, item) for item, element in enumerate(elements_of(tensor))])

    def write(self, model: ServedModel, data: NDArray[Any], datatype: str | None, leading: tuple[int, ...]) -> Tensor:
        texts = model.manifest.preprocessing.items(data)
        return strings(self.name, [text.encode() for text in texts], leading)
