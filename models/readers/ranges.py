"""Choose one range of values for a whole set of pictures, and say what cannot be right. Knows nothing of files or colours."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.depth import MOST_OF_UNIT, SLIVER, Range, extremes
from models.readers.found import range_text
from models.readers.left_out import of_all, plural

# Percentiles replace the extremes if they make the range more than STRETCH times as narrow.
PERCENTILES, STRETCH = (0.1, 99.9), 2.0
# Floats reach from 0 to 1 if at most this share of them is outside, and by no more than 1, as resampling overshoots.
OVERSHOOT = 0.001
# Numbers up to 255 have the scale of bytes if the largest is above this; otherwise they have a scale of their own.
HALF = 128
RANGE_FLAG = "--range"


class Part(NamedTuple):
    """The finite values of some pictures: the smallest and the largest of each, and a sample of all."""

    ranges: NDArray[Any]  # (n, 2)
    sample: NDArray[Any]


def part_of(pictures: NDArray[Any], most: int) -> Part | None:
    """Return the finite values of pictures (n, ...), of which at most `most` are kept, evenly; None if there are none."""
    rows = pictures.reshape(len(pictures), -1)
    flat = rows.reshape(-1)
    if rows.dtype.kind == "f":
        finite = np.isfinite(rows)
        lows, highs = np.where(finite, rows, np.inf).min(1), np.where(finite, rows, -np.inf).max(1)
        flat = flat[finite.reshape(-1)]
    else:
        lows, highs = rows.min(1), rows.max(1)
    if not flat.size:
        return None
    ranges = np.stack([lows, highs], 1).astype(np.float64)
    return Part(ranges[ranges[:, 0] <= ranges[:, 1]], flat[:: max(1, -(-flat.size // most))].astype(np.float64))


def all_ranges(parts: Iterable[Part]) -> NDArray[Any]:
    """Return the smallest and the largest value of each picture, (N, 2)."""
    return np.concatenate([np.empty((0, 2)), *(part.ranges for part in parts)])


def is_unit(parts: Iterable[Part]) -> bool:
    """Return whether floats reach from 0 to 1. A few of them may be a little outside: resampling overshoots."""
    least, most = extremes([all_ranges(parts)])
    if not (-1 <= least < most <= MOST_OF_UNIT and most > 0):
        return False
    sample = np.concatenate([part.sample for part in parts])
    return bool(np.mean((sample < 0) | (sample > 1)) <= OVERSHOOT)


def unit_line(found: str, least: float = 0, most: float = 1) -> str:
    """Return a line about floats for which `is_unit` is true."""
    clipped = f", and the others (at most {100 * OVERSHOOT:g} %) are clipped" if least < 0 or most > 1 else ""
    return f"{found}; 0 to 1 become 0 to 255{clipped}"


def mixed_lines(parts: Iterable[Part]) -> list[str]:
    """Return a warning if some pictures of floats reach 1 and others 255; else nothing."""
    highs = all_ranges(parts)[:, 1]
    small, large = int(((highs > 0) & (highs <= MOST_OF_UNIT)).sum()), int((highs > HALF).sum())
    if not small or not large:
        return []
    return [
        f"warning: {plural(small, 'picture')} with values up to {MOST_OF_UNIT:g} and {large:,} with values above {HALF} "
        "get the same range; bring them to one scale"
    ]


def choose_range(
    parts: Sequence[Part], wanted: Range | None, what: str, source: str = RANGE_FLAG, floats: bool = False
) -> tuple[Range | None, list[str]]:
    """Return the range of a set of pictures, and lines that say so; None if all values are equal.

    It is that which is wanted, which comes from `source`; or from 0 to 1 for floats of which a few overshoot; or from the
    smallest to the largest value. If that is more than twice as wide as from the 0.1 to the 99.9 percentile, a few pixels are
    outliers, and the percentiles are the range.
    """
    ranges = all_ranges(parts)
    least, most = extremes([ranges])
    found = f"values: {range_text(least, most)}"
    if wanted is not None:
        outside = int(((ranges[:, 0] < wanted[0]) | (ranges[:, 1] > wanted[1])).sum())
        clipped = f"; {outside} of {len(ranges)} have values outside, which are clipped" if outside else ""
        lines = [f"{found} in {what}; {range_text(*wanted)} ({source}) become 0 to 255{clipped}"]
        if outside and source != RANGE_FLAG:
            lines.append(
                f"warning: {of_all(outside, len(ranges), 'picture')} partly outside of {source}, {range_text(*wanted)}, and "
                "clipped; bring the values to that scale, or train with another --range LO,HI"
            )
        return wanted, lines
    if least == most:
        return None, [f"warning: all values are {least:.6g} in {what}; no range is chosen"]
    if floats and (least < 0 or most > 1) and is_unit(parts):
        return (0.0, 1.0), [unit_line(f"{found} in {what}", least, most)]
    low, high = (float(value) for value in np.percentile(np.concatenate([part.sample for part in parts]), PERCENTILES))
    if high > low and most - least > STRETCH * (high - low):
        return (low, high), [
            f"{found} in {what}, but {PERCENTILES[1] - PERCENTILES[0]:g} % of them are from {low:.6g} to {high:.6g}: these "
            "become 0 to 255, and the others are clipped; --range LO,HI sets another range"
        ]
    return (least, most), [f"{found} in {what} become 0 to 255"]


def pixel_lines(least: int, most: int, scale: Range | None = None) -> list[str]:
    """Return a warning if all pixels are equal or nearly black; `scale` became 0 to 255, None for pictures of bytes."""
    if least == most:
        return ["warning: all pixels of all pictures are equal"]
    if most > SLIVER * 255:
        return []
    found = f"warning: the largest value is {most} of 255, so all pictures are nearly black; "
    if scale is not None:
        return [
            f"{found}the values do not fit the range {range_text(*scale)}, which became 0 to 255; --range LO,HI sets another"
        ]
    return [f"{found}if the values have a scale of their own, as in masks, multiply them by {255 // most} and save them again"]
