"""Mosaics of pictures, for samples, reconstructions and manifolds. Knows nothing of models."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.files.atomic_file import write_atomically
from models.preprocess import Pixels

if TYPE_CHECKING:  # torch takes seconds to import, and callers with numpy arrays do not need it.
    from torch import Tensor


def tile(pictures: NDArray[np.uint8], columns: int, gap: int = 2) -> Pixels:
    """Place pictures row by row on black: uint8 (N, H, W, C) -> (rows H + gaps, columns W + gaps, C)."""
    n, height, width, channels = pictures.shape
    rows = math.ceil(n / columns)
    canvas = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), np.uint8)
    for i, picture in enumerate(pictures):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        canvas[y : y + height, x : x + width] = picture
    return canvas


def to_bytes(x: "Tensor") -> NDArray[np.uint8]:
    """Convert pixels in [0, 1], (N, C, H, W), to uint8 (N, H, W, C), rounded to the nearest."""
    return (x.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def grid(x: "Tensor", columns: int | None = None) -> Image.Image:
    """Return one picture of all: (N, C, H, W) in [0, 1]. Without `columns` the grid is as square as possible."""
    return mosaic(to_bytes(x), columns)


def mosaic(pictures: NDArray[np.uint8], columns: int | None = None) -> Image.Image:
    """Return one picture of all: uint8 (N, H, W, C). Without `columns` the grid is as square as possible."""
    return to_image(tile(pictures, columns or math.ceil(math.sqrt(len(pictures)))))


def to_image(pixels: Pixels) -> Image.Image:
    """Convert uint8 (H, W, 1) or (H, W, 3) to a Pillow image with mode L or RGB."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def write_png(path: Path, image: Image.Image) -> None:
    """Write a PNG, replacing an old one, with Pillow's best compression. Raises OSError."""
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    write_atomically(path, content.getvalue(), durable=False)
