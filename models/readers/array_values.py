"""Choose the values of arrays that become 0 and 255, once for all pictures, and convert blocks. Knows nothing of files."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.depth import INTEGERS, MOST_OF_UNIT, SLIVER, Depth, Range, extremes
from models.preprocess import Pixels
from models.readers.found import range_text
from models.readers.left_out import plural
from models.readers.ranges import (
    HALF,
    RANGE_FLAG,
    all_ranges,
    choose_range,
    is_unit,
    mixed_lines,
    part_of,
    unit_line,
)

# So many values of each block are kept for percentiles.
KEPT = 1 << 14
BYTES: Range = (0.0, 255.0)
# The source of a range that a model has.
OF_MODEL = "the range of the model"


class Scale(NamedTuple):
    """The values that become 0 and 255, what of it a checkpoint stores (None: bytes stay bytes), and lines that say so."""

    range: Range
    stored: Range | None
    lines: list[str]

    def to_bytes(self, values: NDArray[Any]) -> Pixels:
        """Convert values; those outside of the range are clipped, NaN becomes 0."""
        if self.range == BYTES and values.dtype == np.uint8:
            return np.asarray(values, np.uint8)
        return Depth(*self.range).to_bytes(values)


def choose_scale(
    blocks: Iterable[NDArray[Any]], wanted: Range | None, served: bool = False, source: str = RANGE_FLAG
) -> Scale:
    """Look at all values, blocks of pictures (n, H, W, C). `wanted` is the range that the user or the model gives.

    Bytes stay as they are, as in picture files. Floats from 0 to 1 or -1 to 1, zeros and ones, and numbers from 0 to 255 have
    the scale that is meant by them; any other numbers reach from the smallest to the largest, as `choose_range` says. If they
    are `served`, by a model without a range, they have the scale of pictures with such values instead: the same one in every
    file. `source` says where `wanted` comes from.
    """
    parts, strange = [], 0
    kind, is_bytes = "u", True
    for block in blocks:
        kind, is_bytes = block.dtype.kind, block.dtype == np.uint8
        strange += block.size - int(np.isfinite(block).sum()) if kind == "f" else 0
        part = part_of(block.astype(np.uint8) if kind == "b" else block, KEPT)
        parts += [] if part is None else [part]
    warnings = [f"warning: not finite numbers: {plural(strange, 'value')}; these become black or white"] if strange else []
    if not parts:
        return Scale(BYTES, None, [*warnings, "warning: no value is a number"])
    least, most = extremes([all_ranges(parts)])
    found = f"values: {range_text(least, most)}"
    if is_bytes or kind == "b":
        if wanted is not None and not served and source == RANGE_FLAG:
            values = "bytes" if is_bytes else "true and false"
            warnings.append(f"warning: --range changes nothing, because the values are {values}")
        if is_bytes:
            return Scale(BYTES, None, [f"{found} of 255", *warnings])
        return Scale((0.0, 1.0), None, [unit_line(found), *warnings])
    if wanted is None and 0 <= least < most <= 1:
        return Scale((0.0, 1.0), (0.0, 1.0), [unit_line(found), *warnings])
    if kind == "f":
        warnings += mixed_lines(parts)
        if wanted is None and is_unit(parts):
            return Scale((0.0, 1.0), (0.0, 1.0), [unit_line(found, least, most), *warnings])
        if wanted is None and -1 <= least < 0 < most <= 1:
            return Scale((-1.0, 1.0), (-1.0, 1.0), [f"{found}; -1 to 1 become 0 to 255", *warnings])
    if wanted is None and least >= 0 and HALF < most <= BYTES[1]:
        return Scale(BYTES, BYTES, [f"{found}; taken as 0 to 255", *warnings])
    if wanted is None and served:
        scale = INTEGERS if kind != "f" else (0.0, 1.0) if most <= MOST_OF_UNIT else BYTES
        if most <= SLIVER * scale[1]:
            warnings.append(
                f"warning: values reach only {most:.6g} of {scale[1]:g}; use a model that was trained with --range"
            )
        return Scale(scale, None, [f"{found}; {range_text(*scale)} become 0 to 255, as in pictures", *warnings])
    chosen, lines = choose_range(parts, wanted, "the arrays", OF_MODEL if served else source)
    return Scale(chosen or BYTES, chosen, [*lines, *warnings])
