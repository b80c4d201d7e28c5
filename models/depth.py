"""Reduce greys with more than 8 bits (16-bit and 32-bit integers, floats) to 8 bits, and say when that loses something.

Knows nothing of files, sizes or colours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Range = tuple[float, float]
# Code and explanation of one thing that a caller should know about a picture.
Note = tuple[str, str]

# Values that become 0 and 255 where no range is stored. Floats reach 1, or 255 if one of them is above MOST_OF_UNIT:
# resampling and augmentation overshoot 1 by a little.
INTEGERS: Range = (0.0, 65535.0)
MOST_OF_UNIT = 2.0
# A picture whose largest value is at most this share of such a scale probably has another scale.
SLIVER = 1 / 4


def is_deep(mode: str) -> bool:
    """Return whether pictures of a Pillow mode have more than 8 bits per grey."""
    return mode.startswith(("I", "F"))


@dataclass(frozen=True)
class Depth:
    """The reduction of one picture to 8 bits: `low` becomes 0 and `high` becomes 255, and other values are clipped."""

    low: float
    high: float

    def to_bytes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return values of any shape as bytes. NaN becomes black."""
        values = np.nan_to_num(values.astype(np.float64), nan=self.low, posinf=self.high, neginf=self.low)
        scaled = values / 257 if (self.low, self.high) == INTEGERS else (values - self.low) * (255 / (self.high - self.low))
        pixels: NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
        return pixels

    def reduce(self, image: Image.Image) -> Image.Image:
        """Return a deep picture, or a part of one, with 8 bits."""
        return Image.fromarray(self.to_bytes(np.asarray(image)))


def depth_of(mode: str, parts: Callable[[], Iterable[Any]], stored: Range | None, notes: list[Note] | None) -> Depth | None:
    """Return how to reduce a picture, which `parts` gives as pictures or arrays; None for a picture that has 8 bits.

    `stored` is the range of the model's pictures. Without it, integers range from 0 to 65535, and floats from 0 to 1, or from
    0 to 255 if one is above 2. `notes` receives `clipped` for values outside and for NaN, and `low_range` for values
    that fill only a small part of the scale, or for floats from 0 to 1 where the stored range is much wider.
    """
    if not is_deep(mode):
        return None
    is_float = mode.startswith("F")
    if notes is None and (stored is not None or not is_float):
        return Depth(*(stored or INTEGERS))
    least, most = extremes(np.asarray(part) for part in parts())
    low, high = stored or (INTEGERS if not is_float else (0.0, 1.0 if most <= MOST_OF_UNIT else 255.0))
    if notes is not None and (least < low or most > high):
        notes.append(("clipped", _clipped((least, most), (low, high), stored is not None, parts())))
    if notes is not None and is_float and (missing := _not_a_number(parts())):
        notes.append(("clipped", missing))
    if notes is not None and stored is None and 0 < most <= SLIVER * high:
        advice = f"scale the picture to 0 to {high:g}, or use a model that was trained with --range"
        notes.append(("low_range", f"values reach only {most:.6g} of {high:g}; {advice}"))
    if notes is not None and stored is not None and is_float and 0 <= least < most <= 1 <= SLIVER * high:
        advice = "send floats on the scale of the training data, or 8-bit pictures"
        notes.append(("low_range", f"values reach only {most:.6g}, the model's pictures {low:.6g} to {high:.6g}; {advice}"))
    return Depth(low, high)


def extremes(arrays: Iterable[NDArray[Any]]) -> Range:
    """Return the smallest and the largest number; (0, 0) if there is none. NaN does not count, infinity does."""
    least, most = np.inf, -np.inf
    for values in arrays:
        if values.size and (values.dtype.kind != "f" or not np.isnan(values).all()):
            least, most = min(least, float(np.nanmin(values))), max(most, float(np.nanmax(values)))
    return (least, most) if least <= most else (0.0, 0.0)


def _not_a_number(parts: Iterable[Any]) -> str:
    """Say how many pixels are NaN, which become black; "" if there are none."""
    missing = count = 0
    for part in parts:
        values = np.asarray(part)
        missing += int(np.count_nonzero(np.isnan(values)))
        count += values.size
    return f"{missing} of {count} pixels ({100 * missing / count:.2f} %) are NaN and become black" if missing else ""


def _clipped(found: Range, allowed: Range, is_stored: bool, parts: Iterable[Any]) -> str:
    outside = count = 0
    for part in parts:
        values = np.asarray(part)
        outside += int(np.count_nonzero((values < allowed[0]) | (values > allowed[1])))
        count += values.size
    whose = (
        "the range of the model's pictures"
        if is_stored
        else f"the scale of such pictures; scale it to 0 to {allowed[1]:g}, or use a model that was trained with --range"
    )
    return (
        f"values reach from {found[0]:.6g} to {found[1]:.6g}: {outside} of {count} pixels ({100 * outside / count:.2f} %) are "
        f"clipped to {allowed[0]:.6g} to {allowed[1]:.6g}, {whose}"
    )
