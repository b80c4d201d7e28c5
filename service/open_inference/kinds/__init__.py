"""How data of each kind travel as tensors. To add a kind, add one file in this folder and one line below."""

from collections.abc import Mapping

from service.inference.served_model import ServedModel
from service.open_inference.kinds.data_tensor import DataTensor
from service.open_inference.kinds.pictures import PictureTensor
from service.open_inference.kinds.rows import RowTensor
from service.open_inference.kinds.strokes import StrokesTensor
from service.open_inference.kinds.texts import TextTensor

TENSORS: Mapping[str, DataTensor] = {
    "picture": PictureTensor(),
    "table": RowTensor(),
    "strokes": StrokesTensor(),
    "text": TextTensor(),
}


def data_of(model: ServedModel) -> DataTensor:
    """Return how the data of a model travel."""
    return TENSORS[model.manifest.model.kind]
