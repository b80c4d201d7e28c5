"""Pictures as base64 PNG, as JSON has them."""

import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats import pictures as codecs
from service.formats import png


def base64_pictures(pixels: NDArray[Any]) -> list[str]:
    """Return pictures (N, H, W, C), float32 in [0, 1] or uint8, as base64 PNG."""
    return base64_bytes(codecs.to_uint8(pixels))


def base64_bytes(pixels: NDArray[np.uint8]) -> list[str]:
    """Return pictures, uint8 (N, H, W, C), as base64 PNG."""
    return [binascii.b2a_base64(file, newline=False).decode("ascii") for file in png.write_each(pixels)]
