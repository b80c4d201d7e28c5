"""Drawings as strokes of a pen: rows are float32 (T, 3), points (dx, dy, pen) in units of `scale`, pen = 2 after the end.

Raw drawings are stroke-3, `[[dx, dy, pen], ...]` as in sketch-rnn (Ha & Eck 2017, arXiv:1704.03477): pen = 1 at the last point
of a stroke; a point draws a line unless the point before it lifted the pen. The place of a drawing on the page is not part
of it, so its first point is always the origin. Knows nothing of nets, files or HTTP.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.build import build
from models.drawings.polylines import Points, extent, to_polylines, to_stroke3
from models.drawings.rendering import SIDE, render
from models.drawings.simplify import SHARE, simplify, to_length
from models.drawings.svg_text import svg
from models.kinds.kind import Kind, Preprocessing, Shape

if TYPE_CHECKING:
    from torch import Tensor

Rows = NDArray[np.float32]  # (N, T, 3)
END = 2
MOST_POINTS = 10_000
# Coordinates are answered in steps of at most this share of the scale.
FINEST = 1 / 500
# A polyline that is smaller is a dot: what scales it to the usual extent would not be a finite number.
SMALLEST = 1e-200


class BadDrawing(ValueError):
    """A drawing cannot be used. `item` counts from 0; None: the only one."""

    def __init__(self, reason: str, item: int | None = None) -> None:
        super().__init__(reason if item is None else f"drawing {item}: {reason}")
        self.reason, self.item = reason, item


@dataclass(frozen=True)
class StrokeFormat:
    """The preprocessing of drawings: data units of a model, and its longest drawing.

    `scale` is the standard deviation of dx and dy in the training data, in data units; `extent` the median of the larger
    sides of the drawings, to which drawings are brought whose own unit means nothing, such as those of SVG files.
    """

    max_length: int
    scale: float
    extent: float

    def __post_init__(self) -> None:
        """Raise ValueError if a value has the wrong type or is out of range."""
        if type(self.max_length) is not int or not 0 < self.max_length <= MOST_POINTS:
            raise ValueError(f"max_length must be an integer from 1 to {MOST_POINTS}, not {short_repr(self.max_length)}")
        for name in ("scale", "extent"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1e-6 <= value <= 1e9:
                raise ValueError(f"{name} must be a number from 1e-6 to 1e9, not {short_repr(value)}")

    @property
    def shape(self) -> Shape:
        """Return (max_length, 3)."""
        return self.max_length, 3

    def stored(self) -> dict[str, Any]:
        """Return what config.json holds."""
        return {"max_length": self.max_length, "scale": self.scale, "extent": self.extent}

    def rows(self, items: Sequence[object], length: int | None = None) -> Rows:
        """Return the rows of stroke-3 drawings in data units, (N, T, 3); T is that of the longest, or `length`.

        Raises BadDrawing, with the number of the item.
        """
        drawings = [self._checked(item, i) for i, item in enumerate(items)]
        longest = max(map(len, drawings), default=1)
        found = np.zeros((len(drawings), longest if length is None else length, 3), np.float32)
        found[..., 2] = END
        for row, drawing in zip(found, drawings, strict=True):
            row[: len(drawing)] = drawing
            row[: len(drawing), :2] /= np.float32(self.scale)
            row[0, :2] = 0
        return found

    def items(self, rows: Rows) -> list[list[list[float]]]:
        """Return the stroke-3 drawings of rows, in data units and rounded: (N, T, 3) -> lists for JSON."""
        digits = self.digits
        found = []
        for row, length in zip(rows, lengths(rows).tolist(), strict=True):
            places = np.round(np.cumsum(row[:length, :2].astype(np.float64), 0) * self.scale, digits)
            steps = np.round(np.diff(places, axis=0, prepend=0.0), digits) + 0.0  # + 0.0: no negative zero
            found.append([[dx, dy, int(pen)] for (dx, dy), pen in zip(steps.tolist(), row[:length, 2].tolist(), strict=True)])
        return found

    def polylines(self, rows: Rows) -> list[list[Points]]:
        """Return the strokes of rows as polylines in data units: (N, T, 3) -> one list of (P, 2) for each."""
        scaled = rows.astype(np.float64) * [self.scale, self.scale, 1]
        return [to_polylines(row[:length]) for row, length in zip(scaled, lengths(rows).tolist(), strict=True)]

    def svgs(self, rows: Rows) -> list[str]:
        """Return an SVG file for each row."""
        return [svg(lines, self.digits) for lines in self.polylines(rows)]

    def pictures(self, rows: Rows, side: int = SIDE) -> NDArray[np.uint8]:
        """Return what rows look like, black on white: (N, T, 3) -> uint8 (N, side, side, 1)."""
        found = [render(lines, side) for lines in self.polylines(rows)]
        return np.stack(found) if found else np.zeros((0, side, side, 1), np.uint8)

    def fitted(self, polylines: Sequence[Points], item: int | None = None) -> list[list[float]]:
        """Return the stroke-3 of polylines in any unit, such as those of an SVG file, as a drawing of the training data.

        It is scaled to the usual extent, and points are left out that would not be seen, or for which there is no room.
        Raises BadDrawing if there are too many strokes, or one turns too often.
        """
        size = extent(polylines)
        factor = self.extent / size if size > SMALLEST else 1.0
        scaled = [np.asarray(line, np.float64) * factor for line in polylines if len(line)]
        try:
            smooth = [simplify(line, SHARE * self.extent) for line in scaled]
            short, _ = to_length(smooth, self.max_length)
        except ValueError as error:
            raise BadDrawing(str(error), item) from None
        drawing: list[list[float]] = to_stroke3(short).tolist()
        return drawing

    @property
    def digits(self) -> int:
        """Return the number of decimals of answered coordinates."""
        return max(0, math.ceil(-math.log10(self.scale * FINEST)))

    def _checked(self, item: object, i: int) -> NDArray[np.float64]:
        wanted = "a drawing must be a list of points [dx, dy, pen], such as [[0, 0, 0], [30, 5, 1]]"
        try:
            drawing = np.array(item, np.float64)
        except (ValueError, TypeError, OverflowError):
            raise BadDrawing(f"{wanted}, not {short_repr(item)}", i) from None
        if drawing.ndim != 2 or drawing.shape[1] != 3 or not len(drawing) or _has_others(item):
            raise BadDrawing(f"{wanted}, not {short_repr(item)}", i)
        if len(drawing) > self.max_length:
            raise BadDrawing(
                f"the drawing has {len(drawing):,} points; this model takes at most {self.max_length}: leave out points, "
                "or send SVG, which is simplified", i
            )  # fmt: skip
        limit = 1e4 * self.scale
        wrong = ~(np.abs(drawing[:, :2]) <= limit).all(1)
        if wrong.any():
            place = int(wrong.argmax())
            raise BadDrawing(
                f"point {place}: dx and dy must be from -{limit:.4g} to {limit:.4g}, not {short_repr(_at(item, place))}",
                i,
            )
        if not np.isin(drawing[:, 2], (0, 1)).all():
            place = int((~np.isin(drawing[:, 2], (0, 1))).argmax())
            raise BadDrawing(
                f"point {place}: pen must be 0 (down) or 1 (lifted after this point), not {short_repr(_at(item, place))}; the "
                "end needs no point of its own", i
            )  # fmt: skip
        return drawing


def _has_others(item: Any) -> bool:
    """Return whether some entries of a list of points are text or truth values, which NumPy takes for numbers."""
    return not isinstance(item, np.ndarray) and any(isinstance(one, (bool, str, bytes)) for point in item for one in point)


def _at(item: Any, place: int) -> object:
    return item[place]


def lengths(rows: Rows) -> NDArray[np.int64]:
    """Return how many points each row has before its end: (N, T, 3) -> (N,)."""
    return np.asarray(np.cumprod(rows[..., 2] < END, axis=1).sum(1, dtype=np.int64))


def has_ended(rows: Rows) -> NDArray[np.bool_]:
    """Return whether each row has its end among its points: (N, T, 3) -> (N,)."""
    return np.asarray((rows[..., 2] >= END).any(1))


class Strokes(Kind):
    """Drawings with a pen."""

    name: ClassVar[str] = "strokes"
    one: ClassVar[str] = "a drawing"
    many: ClassVar[str] = "drawings"
    labels_from: ClassVar[str] = "a sub-folder for each class, or a `word` for each drawing (ndjson),"
    nets: ClassVar[frozenset[str]] = frozenset(("lstm",))
    likelihoods: ClassVar[frozenset[str]] = frozenset(("mixture",))
    row_dtype: ClassVar[str] = "float32"
    sequential: ClassVar[bool] = True

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 2 or shape[1] != 3 or type(shape[0]) is not int or not 0 < shape[0] <= MOST_POINTS:
            raise ValueError(f"shape must be (points, 3), with 1 to {MOST_POINTS} points")

    def preprocessing(self, **stored: Any) -> Preprocessing:
        return build(StrokeFormat, stored, "preprocessing")

    def default_preprocessing(self, shape: Shape) -> Preprocessing:
        raise ValueError("a model of drawings is saved with its preprocessing: only the training data know the scale")

    def check_preprocessing(self, spec: StrokeFormat, options: Mapping[str, Any]) -> None:
        """Raise ValueError unless the outputs of the net are those of a mixture: 3 for the pen and 6 for each Gaussian."""
        outputs = options.get("outputs")
        if type(outputs) is not int or outputs < 9 or outputs % 6 != 3:
            raise ValueError(f"a mixture of M Gaussians takes 3 + 6 M outputs, such as 123 for 20, not {short_repr(outputs)}")

    def fits(self, found: Shape, shape: Shape) -> bool:
        """Return whether a row, cut to `found` points or not, suits the model."""
        return len(found) == 2 and found[1] == shape[1] and 0 < found[0] <= shape[0]

    def to_x(self, rows: "Tensor") -> "Tensor":
        return rows.float()

    def cut(self, rows: "Tensor") -> "Tensor":
        """Return the rows of a batch up to the end of the longest one."""
        longest = self.lengths(rows).max()
        return rows[:, : max(1, int(longest))]

    def lengths(self, rows: "Tensor") -> "Tensor":
        """Return how many steps each row has before its end: (N, T, ...) -> int64 (N,)."""
        return (rows[..., 2] < END).cumprod(1).sum(1)

    def pictures(self, items: NDArray[Any], spec: Any) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = spec.pictures(items)
        return found
