"""Decoded pictures as diffusers postprocesses them: floats from 0 to 1, bytes, picture files. Knows nothing of requests."""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.formats import png

Floats = NDArray[np.float32]
ImageFormat = Literal["jpg", "png"]
MEDIA_TYPES: dict[ImageFormat, str] = {"jpg": "image/jpeg", "png": "image/png"}
JPEG_QUALITY = 95


def unit_range(decoded: Floats) -> Floats:
    """Return pictures from 0 to 1, of what the decoder makes, which is about from -1 to 1; the rest is cut off."""
    return np.clip(decoded * np.float32(0.5) + np.float32(0.5), 0, 1)


def to_bytes(decoded: Floats) -> NDArray[np.uint8]:
    """Return pictures uint8 (N, H, W, C) of decoded ones, (N, C, H, W)."""
    seen = unit_range(decoded).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.rint(seen * np.float32(255)).astype(np.uint8))


def picture_file(pixels: NDArray[np.uint8], image_format: ImageFormat) -> bytes:
    """Return a picture, uint8 (H, W, C), as a file."""
    if image_format == "png":
        return png.write(pixels)
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
