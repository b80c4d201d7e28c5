"""Where a picture of one size goes in one of another size: which part of it is kept, and how large that becomes.

Knows nothing of pixels or files.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from models.preprocess import Preprocessing

Fit = Literal["pad", "crop", "stretch"]
# Beside these, for nets that take pictures of any size; see `Preprocessing`.
AnyFit = Literal[Fit, "exact", "any_size"]
Box = tuple[float, float, float, float]


class WrongSize(ValueError):
    """A picture does not have the size that the model takes."""


def placed(size: tuple[int, int], spec: "Preprocessing") -> tuple[tuple[int, int], Box]:
    """Return the size (width, height) to which an upright picture is resampled, and the box that is cut out of it."""
    width, height = size
    wanted, whole = (spec.width, spec.height), (0.0, 0.0, float(width), float(height))
    if spec.fit == "any_size":
        return _own(size, spec)
    if size == wanted or spec.fit == "stretch":
        return wanted, whole
    if spec.fit == "exact":
        raise WrongSize(
            f"the picture has {height} x {width} pixels (height x width), and here the model takes {spec.height} x "
            f"{spec.width} only; resize it"
        )
    if spec.fit == "pad":
        scale = min(spec.width / width, spec.height / height)
        fits = tuple(min(most, max(1, round(own * scale))) for own, most in zip(size, wanted, strict=True))
        return (fits[0], fits[1]), whole
    ratio, own = spec.width / spec.height, width / height
    if own == ratio:
        return wanted, whole
    kept = (ratio * height, float(height)) if own > ratio else (float(width), width / ratio)
    left, top = (width - kept[0]) * 0.5, (height - kept[1]) * 0.5
    return wanted, (left, top, left + kept[0], top + kept[1])


def _own(size: tuple[int, int], spec: "Preprocessing") -> tuple[tuple[int, int], Box]:
    """Return the size and the box of the middle of a picture whose sides are multiples of those of the preprocessing."""
    (width, height), (left, top) = size, (size[0] % spec.width // 2, size[1] % spec.height // 2)
    inner = width - width % spec.width, height - height % spec.height
    if not min(inner):
        raise WrongSize(
            f"the picture has {height} x {width} pixels (height x width), and the model needs at least {spec.height} x "
            f"{spec.width}; enlarge it"
        )
    return inner, (float(left), float(top), float(left + inner[0]), float(top + inner[1]))
