"""Picture files of any size -> pixels in that size, cut to what the net takes; those of a request must come out in one size.

Knows nothing of lanes or HTTP.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from models.depth import Note
from models.preprocess import Pixels, Preprocessing
from service.formats import base64_text
from service.formats import pictures as codecs
from service.formats.errors import BadInput, TooBig, Unusable
from service.formats.inline_decoding import quick_pixels
from service.formats.raw_items import RawItems
from service.inference.deadline import in_time
from service.inference.kinds.picture_encoding import INLINE_PICTURE_BYTES, INLINE_PIXELS, LATE

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline


async def decode_any_size(
    pipeline: "Pipeline",
    items: RawItems,
    inference: "Inference",
    unit: int,
    limits: tuple[int, int],
    admit: Callable[[int], None] = lambda pixels: None,
) -> Pixels:
    """Return the pictures of a request, uint8 (N, C, H, W), with sides that are multiples of `unit`.

    `limits`: the most pixels of a picture, and of all. `admit` is told the pixels of each picture, and may refuse more.
    Raises BadInput, DeadlineExceeded, and what `admit` raises.
    """
    spec = replace(inference.preprocessing, height=unit, width=unit, fit="any_size")
    try:
        return await in_time(_decode(pipeline, items, inference, spec, limits, admit), inference.deadline, LATE)
    except BadInput as error:
        if items.alone:
            error.item = None
        raise


async def _decode(
    pipeline: "Pipeline",
    items: RawItems,
    inference: "Inference",
    spec: Preprocessing,
    limits: tuple[int, int],
    admit: Callable[[int], None],
) -> Pixels:
    found: list[Pixels] = []
    spent = kept = 0
    cut = f" after the cut to multiples of {spec.height}" if spec.height > 1 else ""
    for item, one in enumerate(items.raw):
        size = len(one) if isinstance(one, str) else 0
        data = await pipeline.offload(size, partial(_bytes, one, item))
        notes: list[Note] = []
        pixels, own = await _one(pipeline, data, spec, spent, item, notes)
        inference.warnings.add_notes(item, notes)
        height, width = pixels.shape[1:]
        spent, kept = spent + own, kept + height * width
        if height * width > limits[0] or kept > limits[1]:
            raise TooBig(
                f"the picture has {height} x {width} pixels{cut}, and those of the request up to it {kept}; at most "
                f"{limits[0]} are allowed in a picture and {limits[1]} in a request. Send smaller or fewer ones",
                item,
            )
        if found and pixels.shape != found[0].shape:
            first = "{1} x {2}".format(*found[0].shape)
            raise Unusable(
                f"the picture has {height} x {width} pixels (height x width){cut}, but the first of the request has {first}: "
                "all pictures of a request must have one size, so send them in several requests",
                item,
            )
        admit(height * width)
        found.append(pixels)
    return np.stack(found)


async def _one(
    pipeline: "Pipeline", data: bytes, spec: Preprocessing, spent: int, item: int, notes: list[Note]
) -> tuple[Pixels, int]:
    """Decode a picture: a small one here, others in the decoder processes. Return it and the pixels of the file."""
    quick = quick_pixels(data) if len(data) <= INLINE_PICTURE_BYTES else None
    if quick is None or quick > INLINE_PIXELS:
        return await pipeline.decoders.decode(data, spec, spent, item, notes)
    image = codecs.open_picture(data, pipeline.max_pixels, item)
    own = image.width * image.height
    codecs.check_sum(spent + own, pipeline.max_pixels, item)
    return codecs.picture_pixels(image, spec, item, notes), own


def _bytes(encoded: bytes | str, item: int) -> bytes:
    return encoded if isinstance(encoded, bytes) else base64_text.base64_bytes(encoded, item)
