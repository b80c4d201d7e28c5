"""Drawings as tensors: FP32 [N, T, 3], points (dx, dy, pen), or SVG files. Knows nothing of operations."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.kinds.strokes import END
from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.open_inference.datatypes import BYTES
from service.open_inference.errors import BadRequest
from service.open_inference.kinds.data_tensor import FP32, DataTensor, elements_of
from service.open_inference.specs import ANY, Spec
from service.open_inference.tensors import Tensor, numbers

PEN = 2  # which of the three numbers of a point says what the pen does


class StrokesTensor(DataTensor):
    """Drawings travel as FP32 [N, T, 3]; shorter ones end with points whose pen is 2. Inputs may also be BYTES [N]: SVG."""

    name: ClassVar[str] = "strokes"

    def spec(self, model: ServedModel) -> Spec:
        return Spec(self.name, FP32, (ANY, ANY, 3))

    def read(self, model: ServedModel, tensor: Tensor) -> RawItems:
        if tensor.datatype == BYTES:
            return RawItems(elements_of(tensor))
        if tensor.datatype != FP32 or len(tensor.shape) != 3 or tensor.shape[2] != 3:
            raise BadRequest(
                f"input {tensor.name!r} is {tensor.datatype} {list(tensor.shape)}, but the model {model.name!r} takes FP32 "
                "[N, T, 3], points (dx, dy, pen), or BYTES [N] with SVG files"
            )
        ended = (tensor.numbers[..., PEN] == END).cumsum(1) > 0
        lengths = (~ended).sum(1).tolist()
        return RawItems([drawing[:length].tolist() for drawing, length in zip(tensor.numbers, lengths, strict=True)])

    def write(self, model: ServedModel, data: NDArray[Any], datatype: str | None, leading: tuple[int, ...]) -> Tensor:
        drawings = model.manifest.preprocessing.items(data)
        points = np.zeros((len(drawings), max(map(len, drawings), default=0) or 1, 3), np.float32)
        points[..., PEN] = END
        for row, drawing in zip(points, drawings, strict=True):
            if drawing:
                row[: len(drawing)] = drawing
        return numbers(self.name, FP32, points.reshape(*leading, *points.shape[1:]))
