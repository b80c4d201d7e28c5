"""A picture file -> the pixels that the encoder takes, as `convert("RGB")` and `VaeImageProcessor` of diffusers make them."""

from functools import partial

import numpy as np
from PIL import Image

from models.preprocess import Pixels
from models.spatial_latents import SpatialLatents
from service.formats.errors import Unusable
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.kinds.any_size import decode_any_size
from service.inference.kinds.size_limits import SizeLimits
from service.inference.pipeline import Pipeline


async def picture_pixels(pipeline: Pipeline, inference: Inference, file: bytes, latents: SpatialLatents) -> Pixels:
    """Return a picture, uint8 (1, C, H, W), scaled down if a side is no multiple of the factor. Raises BadInput."""
    factor, most = latents.factor, SizeLimits(latents).picture
    inference.background = "drop"  # as `convert("RGB")`, with which the handlers of diffusers begin
    pixels = await decode_any_size(pipeline, RawItems([file], alone=True), inference, 1, (most, most))
    height, width = pixels.shape[2:]
    size = height - height % factor, width - width % factor
    if not min(size):
        raise Unusable(f"the picture has {height} x {width} pixels (height x width); each side must have at least {factor}")
    if size == (height, width):
        return pixels
    inference.warnings.add(0, "resized", f"{height} x {width} pixels were scaled down to {size[0]} x {size[1]}")
    return await pipeline.offload(pixels.nbytes, partial(_resized, pixels[0], size))


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return a picture (C, H, W) in another size, (1, C, H', W')."""
    hwc = pixels.transpose(1, 2, 0)
    image = Image.fromarray(hwc[:, :, 0] if hwc.shape[2] == 1 else hwc)
    made = np.asarray(image.resize((size[1], size[0]), Image.Resampling.LANCZOS)).reshape(*size, -1)
    return np.ascontiguousarray(made.transpose(2, 0, 1))[None]
