"""Decoded pictures, float32 (N, H, W, C) about [0, 1], in the forms that diffusers postprocesses them to."""

import io
from typing import Literal

import numpy as np
from PIL import Image

from models.preprocess import Pixels
from service.diffusers_remote.tensors import Floats
from service.formats import png
from service.formats.errors import Unusable

ImageFormat = Literal["jpg", "png"]
MEDIA_TYPES: dict[ImageFormat, str] = {"jpg": "image/jpeg", "png": "image/png"}
JPEG_QUALITY = 95
# The JPEG library writes no longer sides.
LONGEST_JPEG_SIDE = 65_500


def unprocessed(decoded: Floats) -> Floats:
    """Return pictures as AutoencoderKL decodes them, (N, C, H, W), about from -1 to 1."""
    return (decoded * np.float32(2) - np.float32(1)).transpose(0, 3, 1, 2)


def denormalised(decoded: Floats) -> Floats:
    """Return pictures (N, C, H, W) from 0 to 1; what lies beyond is cut off."""
    return decoded.clip(0, 1).transpose(0, 3, 1, 2)


def check_file(size: tuple[int, int], image_format: ImageFormat) -> None:
    """Raise Unusable unless a picture of a size (H, W) can be written as a file of this format."""
    if image_format == "jpg" and max(size) > LONGEST_JPEG_SIDE:
        raise Unusable(
            f"the picture has {size[0]} x {size[1]} pixels (height x width), and each side of a JPEG file can have at most "
            f"{LONGEST_JPEG_SIDE}; ask for image_format=png, or for a tensor"
        )


def as_file(pixels: Pixels, image_format: ImageFormat) -> bytes:
    """Return a picture, uint8 (H, W, C), as a file."""
    if image_format == "png":
        return png.write(pixels)
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
