"""Pictures as tensors: pixels or picture files. Knows nothing of operations."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.formats import pictures as codecs
from service.formats.npy import picture_rows
from service.formats.raw_items import RawItems
from service.inference.served_model import ServedModel
from service.open_inference.datatypes import BYTES
from service.open_inference.errors import BadRequest
from service.open_inference.kinds.data_tensor import FP32, UINT8, DataTensor, elements_of
from service.open_inference.specs import ANY, Spec
from service.open_inference.tensors import Tensor, numbers


class PictureTensor(DataTensor):
    """Pictures travel as UINT8 [N, H, W, C]. Inputs may also be FP32 [N, C, H, W], and BYTES [N]: files such as PNG."""

    name: ClassVar[str] = "image"
    parameters: ClassVar[frozenset[str]] = frozenset(("background", "invert"))
    of_outputs: ClassVar[frozenset[str]] = frozenset(("dtype",))

    def spec(self, model: ServedModel) -> Spec:
        return Spec(self.name, UINT8, (ANY, *model.shape))

    def read(self, model: ServedModel, tensor: Tensor) -> RawItems:
        if tensor.datatype == BYTES:
            return RawItems(elements_of(tensor))
        height, width, channels = model.shape
        last, first = (height, width, channels), (channels, height, width)
        own = tensor.shape[1:]
        array = tensor.numbers
        if tensor.datatype not in (UINT8, FP32) or own not in (last, first):
            raise BadRequest(
                f"input {tensor.name!r} is {tensor.datatype} {list(tensor.shape)}, but the model {model.name!r} takes UINT8 "
                f"{['N', *last]}, FP32 {['N', *first]}, or BYTES ['N'] with picture files".replace("'N'", "N")
            )
        # If both orders fit, UINT8 has the channels last and FP32 first, as files and networks have them.
        channels_first = own == first and (own != last or tensor.datatype == FP32)
        pictures = array.transpose(0, 2, 3, 1) if channels_first else array
        return RawItems(rows=picture_rows(pictures, model.shape, model.manifest.preprocessing.range is not None))

    def write(self, model: ServedModel, data: NDArray[Any], datatype: str | None, leading: tuple[int, ...]) -> Tensor:
        if datatype == FP32:
            pixels = np.divide(data, 255, dtype=np.float32) if data.dtype == np.uint8 else data
        else:
            pixels = codecs.to_uint8(data)
        return numbers(self.name, datatype or UINT8, pixels.reshape(*leading, *data.shape[1:]))
