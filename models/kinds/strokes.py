"""Drawings as strokes of a pen: rows of points (dx, dy, pen), as in sketch-rnn (Ha & Eck 2017, arXiv:1704.03477).
"""
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from models.kinds.kind import Kind, Preprocessing, Shape

if TYPE_CHECKING:
    from torch import Tensor

END = 2
MAX_LENGTH = 10_000


@dataclass(frozen=True)
class StrokePreprocessing:
    max_length: int
    scale: float
    extent: float

    @property
    def shape(self) -> Shape:
        return self.max_length, 3

    def stored(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "scale": self.scale, "extent": self.extent}


class Strokes(Kind):
    name: ClassVar[str] = "strokes"
    one: ClassVar[str] = "a drawing"
    many: ClassVar[str] = "drawings"
    nets: ClassVar[frozenset[str]] = frozenset(("lstm",))
    likelihoods: ClassVar[frozenset[str]] = frozenset(("mixture",))
    sequential: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 2 or shape[1] != 3 or type(shape[0]) is not int or not 0 < shape[0] <= MAX_LENGTH:
            raise ValueError(f"drawings have the shape (points, 3), with 1 to {MAX_LENGTH} points")

    def preprocessing(self, **stored: Any) -> Preprocessing:
        return StrokePreprocessing(**stored)

    def default_preprocessing(self, shape: Shape) -> Preprocessing:
        raise ValueError("a model of drawings is saved with its preprocessing: the scale of the points is known by nobody else")

    def fits(self, found: Shape, shape: Shape) -> bool:
        return len(found) == 2 and found[1] == shape[1] and 0 < found[0] <= shape[0]

    def to_x(self, rows: "Tensor") -> "Tensor":
        return rows.float()
