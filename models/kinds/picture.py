"""Pictures: rows are uint8 (C, H, W); x is the same in [0, 1]."""

from typing import TYPE_CHECKING, Any, ClassVar

from models.kinds.kind import Kind, Shape
from models.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

# Largest height or width in pixels, the same as in JPEG.
MAX_SIDE = 65_535


class Picture(Kind):
    """Grey or colour pictures of one size."""

    name: ClassVar[str] = "picture"
    one: ClassVar[str] = "a picture"
    many: ClassVar[str] = "pictures"
    nets: ClassVar[frozenset[str]] = frozenset(("conv", "gated", "mlp", "residual"))
    likelihoods: ClassVar[frozenset[str]] = frozenset(("bernoulli", "continuous_bernoulli", "gaussian"))
    priors: ClassVar[frozenset[str]] = frozenset(("standard", "vamp"))

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 3 or not all(type(n) is int and 0 < n <= MAX_SIDE for n in shape):
            raise ValueError(f"shape must be three positive integers (C, H, W) up to {MAX_SIDE}")
        if shape[0] not in (1, 3):
            raise ValueError(f"pictures have 1 or 3 channels, not {shape[0]}")

    def preprocessing(self, **stored: Any) -> Preprocessing:
        return Preprocessing(**stored)

    def default_preprocessing(self, shape: Shape) -> Preprocessing:
        channels, height, width = shape
        return Preprocessing(channels, height, width)

    def to_x(self, rows: "Tensor") -> "Tensor":
        import torch  # only here: processes that decode pictures do without it

        return rows.to(torch.float32) / 255 if rows.dtype == torch.uint8 else rows
