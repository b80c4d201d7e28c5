"""The client of diffusers, inputs for it, and comparisons with what diffusers' own VAE makes of them."""

from typing import Any

import numpy as np
import torch
from diffusers.utils import remote_utils
from PIL import Image
from torch import Tensor

# What they return depends on their arguments in ways that their types do not say.
remote_decode: Any = remote_utils.remote_decode
remote_encode: Any = remote_utils.remote_encode
KEY = "a-key-for-the-url-0123456789"
SCALE, SHIFT, FACTOR = 0.3611, 0.1159, 8
# Half the distance of two neighbouring numbers, relative to them.
PRECISION = {torch.float32: 0.0, torch.float16: 2**-11, torch.bfloat16: 2**-8}
DTYPES = list(PRECISION)
TOLERANCE = 1e-4


def latents(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(13)).to(dtype)


def picture(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def close(found: Tensor, expected: Tensor) -> bool:
    """Whether numbers are the expected ones, rounded to the type of the former."""
    error, size = (found.float() - expected).abs(), expected.abs()
    return found.shape == expected.shape and bool((error <= TOLERANCE + 1.01 * PRECISION[found.dtype] * size).all())


def alike(found: Image.Image, expected: Image.Image, levels: int = 1) -> bool:
    """Whether two pictures differ by at most so many levels of brightness, which rounding may make."""
    assert found.size == expected.size
    difference = np.abs(np.asarray(found).astype(int) - np.asarray(expected).astype(int))
    return int(difference.max()) <= levels
