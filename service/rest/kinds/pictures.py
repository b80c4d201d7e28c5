"""Pictures in requests and answers: base64 in JSON, picture files as they are."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.formats import pictures as codecs
from service.formats.errors import Unusable
from service.formats.npy import npy_array
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.rest.bodies import Body, pictures_of
from service.rest.data_keys import DATA_KEYS
from service.rest.kinds.base64_pictures import base64_pictures
from service.rest.kinds.wire import Wire
from service.rest.negotiation import Format


class PicturesWire(Wire):
    """Pictures travel as base64 PNG in JSON, as files and as npy arrays."""

    many: ClassVar[str] = "images"
    things: ClassVar[str] = "pictures"
    send: ClassVar[str] = 'send a picture, a form, npy, or {"images": ["<base64>"]}'
    shown: ClassVar[str] = '{"image": "<base64>"}'
    formats: ClassVar[tuple[Format, ...]] = ("json", "npy", "png")

    def check(self, value: object, item: int | None = None) -> None:
        if not isinstance(value, str):
            raise Unusable("the image must be a string: base64 or a data URL", item)

    def json(self, model: ServedModel, data: NDArray[Any]) -> list[Any]:
        return base64_pictures(data)

    def fields(self, model: ServedModel, data: NDArray[Any]) -> dict[str, Any]:
        return {"images": base64_pictures(data), "shape": list(data.shape[1:])}

    def cost(self, data: NDArray[Any], drawn: bool) -> int:
        return data.nbytes

    def pictures(self, inference: Inference, data: NDArray[Any]) -> NDArray[np.uint8]:
        return codecs.to_uint8(data)

    def read(self, model: ServedModel, body: Body) -> RawItems:
        if body.kind == "text":
            raise body.unknown or self.refused(model, body)
        if body.kind == "json":
            given = sorted(body.values.keys() & set(DATA_KEYS))
            if given and not {"images", "image"} & set(given):
                raise Unusable(f"{self._takes(model)}, not {given[0]!r}")
        return pictures_of(body, _shape_of(model, body), model.manifest.preprocessing.range is not None)


def _shape_of(model: ServedModel, body: Body) -> tuple[int, int, int]:
    """Return the shape of pictures in an npy array: the model's, or any other size if the net takes that."""
    height, width, channels = model.shape
    if model.kind.spatial is not None and body.kind == "npy":
        found = npy_array(body.raw).shape
        if len(found) == (3 if channels == 1 else 4):
            height, width = found[1:3]
    return height, width, channels
