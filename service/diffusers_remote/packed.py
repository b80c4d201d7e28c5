"""Packed latents, as the pipelines of Flux have them. Knows nothing of requests or of models.

Each 2 x 2 square of a latent (C, h, w) is one row of 4 C numbers: a sequence for a transformer.
"""

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Unusable

SIDE = 2


def unpacked(packed: NDArray[np.float32], height: int, width: int, factor: int) -> NDArray[np.float32]:
    """Return latents (N, C, h, w) of packed ones, (N, squares, 4 C). Raises Unusable.

    `height`, `width`: of the pictures in pixels, `factor` times as large as the latents. What is left of them beside whole
    squares counts for nothing, as in the pipelines.
    """
    count, squares, numbers = packed.shape
    rows, columns = height // (factor * SIDE), width // (factor * SIDE)
    if squares != rows * columns or numbers % SIDE**2:
        raise Unusable(
            f"packed latents for {height} x {width} pixels have the shape (N, {rows * columns}, 4 C), "
            f"a row for each square of {factor * SIDE} x {factor * SIDE} pixels, not {list(packed.shape)}"
        )
    channels = numbers // SIDE**2
    split = packed.reshape(count, rows, columns, channels, SIDE, SIDE)
    latents = split.transpose(0, 3, 1, 4, 2, 5)  # (N, C, rows, 2, columns, 2)
    return np.ascontiguousarray(latents).reshape(count, channels, rows * SIDE, columns * SIDE)
