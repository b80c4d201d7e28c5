"""Rows of tables as tensors: BYTES, each a JSON object with a value for each column. Knows nothing of operations."""

from typing import Any, ClassVar

import orjson
from numpy.typing import NDArray

from models.kinds.table_rows import fill
from service.formats.errors import Unusable
from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.json_types import json_type
from service.open_inference.datatypes import BYTES
from service.open_inference.kinds.data_tensor import DataTensor, elements_of, json_of
from service.open_inference.specs import ANY, Spec
from service.open_inference.tensors import Tensor, strings


class RowTensor(DataTensor):
    """Rows travel as BYTES [N] of JSON objects."""

    name: ClassVar[str] = "row"
    of_reconstructions: ClassVar[frozenset[str]] = frozenset(("cells",))

    def spec(self, model: ServedModel) -> Spec:
        return Spec(self.name, BYTES, (ANY,))

    def read(self, model: ServedModel, tensor: Tensor) -> RawItems:
        found = [json_of(element, item) for item, element in enumerate(elements_of(tensor))]
        for item, row in enumerate(found):
            if not isinstance(row, dict):
                raise Unusable(f"a row must be a JSON object with a value for each column, not {json_type(row)}", item)
        return RawItems(found)

    def reconstructed(self, originals: NDArray[Any], data: NDArray[Any], whole: bool) -> NDArray[Any]:
        return data if whole else fill(originals, data)

    def write(self, model: ServedModel, data: NDArray[Any], datatype: str | None, leading: tuple[int, ...]) -> Tensor:
        return strings(self.name, [orjson.dumps(row) for row in model.manifest.preprocessing.items(data)], leading)
