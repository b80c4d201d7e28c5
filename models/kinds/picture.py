"""Pictures: rows are uint8 (C, H, W); x is the same in [0, 1]."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.build import build
from models.kinds.kind import Kind, Shape
from models.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

# Largest height or width in pixels, the same as in JPEG.
MAX_SIDE = 65_535
# Near copies are looked for at this size, so many pictures at a time; more would only take longer.
COMPARED_SIDE, COMPARED_ROWS = 16, 1000


class Picture(Kind):
    """Grey or colour pictures of one size."""

    name: ClassVar[str] = "picture"
    one: ClassVar[str] = "a picture"
    many: ClassVar[str] = "pictures"
    labels_from: ClassVar[str] = "a sub-folder for each class, or an array `labels`,"
    row_dtype: ClassVar[str] = "uint8"
    comparable: ClassVar[bool] = True
    nets: ClassVar[frozenset[str]] = frozenset(("autoencoder_kl", "conv", "gated", "mlp", "residual"))
    likelihoods: ClassVar[frozenset[str]] = frozenset(("bernoulli", "continuous_bernoulli", "gaussian"))
    priors: ClassVar[frozenset[str]] = frozenset(("standard", "vamp"))

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 3 or not all(type(n) is int and 0 < n <= MAX_SIDE for n in shape):
            raise ValueError(f"shape must be three positive integers (C, H, W) up to {MAX_SIDE}")
        if shape[0] not in (1, 3):
            raise ValueError(f"pictures have 1 or 3 channels, not {shape[0]}")

    def preprocessing(self, **stored: Any) -> Preprocessing:
        return build(Preprocessing, stored, "preprocessing")

    def default_preprocessing(self, shape: Shape) -> Preprocessing:
        channels, height, width = shape
        return Preprocessing(channels, height, width)

    def to_x(self, rows: "Tensor") -> "Tensor":
        import torch  # only here: processes that decode pictures do without it

        return rows.to(torch.float32) / 255 if rows.dtype == torch.uint8 else rows

    def compared(self, rows: "Tensor") -> "Tensor":
        """Reduce pictures to at most 16 x 16 by averaging: uint8 (N, C, H, W) -> (N, F) in [0, 1]."""
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        size = (min(COMPARED_SIDE, rows.shape[2]), min(COMPARED_SIDE, rows.shape[3]))
        blocks = rows.split(COMPARED_ROWS)
        return torch.cat([adaptive_avg_pool2d(block.float() / 255, size).flatten(1) for block in blocks])

    def pictures(self, items: NDArray[Any], spec: Any) -> NDArray[np.uint8]:
        pixels = items
        if items.dtype != np.uint8:  # rounded to the nearest; NaN is black
            pixels = np.round(np.clip(np.nan_to_num(items, nan=0.0), 0, 1) * 255).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))

    def worded(self, text: str) -> str:
        return text
