"""Whether a picture is light on dark or dark on light, and inverting it. Knows nothing of files or sizes."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.depth import Note
from models.transparency import Ink

Invert = Literal["no", "yes", "auto"]

# The code of a note that is not for callers: the picture contradicts the ink, which its padding hides.
CONTRADICTS = "contradicts"


def has_light_border(pixels: NDArray[Any]) -> bool:
    """Return whether the median of the outermost pixels is in the lighter half. Takes (C, H, W), bytes or floats in [0, 1]."""
    top, bottom, left, right = pixels[:, 0], pixels[:, -1], pixels[:, 1:-1, 0], pixels[:, 1:-1, -1]
    border = np.concatenate([top, bottom, left, right], axis=1).mean(0)  # (number of border pixels,)
    light = np.count_nonzero(border > (127.5 if pixels.dtype == np.uint8 else 0.5))
    return bool(2 * light > border.size)


def contradicts(pixels: NDArray[Any], ink: Ink) -> bool:
    """Return whether a picture (C, H, W) looks dark on light where the ink is light, or the other way round."""
    return has_light_border(pixels) == (ink == "light")


def in_ink(pixels: NDArray[Any], ink: Ink, invert: Invert) -> NDArray[Any]:
    """Return a picture (C, H, W), bytes or floats in [0, 1], inverted if `invert` says so."""
    if invert == "no" or (invert == "auto" and not contradicts(pixels, ink)):
        return pixels
    return inverted(pixels)


def inverted(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return 255 - x for bytes, 1 - x for floats."""
    return (255 if pixels.dtype == np.uint8 else np.float32(1)) - pixels


def blank_note(pixels: NDArray[Any], after: str = "") -> Note | None:
    """Return the note `blank` if all pixels of a picture (C, H, W) are equal."""
    first = pixels[:, :1, :1]
    if not (pixels == first).all():
        return None
    color = ", ".join(f"{value:g}" for value in first.ravel())
    return "blank", f"all pixels are equal ({color}){after}"
