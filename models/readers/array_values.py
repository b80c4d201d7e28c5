"""Choose the values of arrays that become 0 and 255, once for all pictures, and convert blocks. Knows nothing of files."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.depth import INTEGERS, MOST_OF_UNIT, SLIVER, Range
from models.preprocess import Pixels
from models.readers.found import range_text
from models.readers.left_out import plural
from models.readers.values import FLAG, choose_range, dark_lines, part_of

# So many values of each block are kept for percentiles.
KEPT = 1 << 14
BYTES: Range = (0.0, 255.0)
# Numbers up to 255 have the scale of bytes if the largest is above this; otherwise they have a scale of their own.
HALF = 128


class Scale(NamedTuple):
    """The values that become 0 and 255, what of it a checkpoint stores (None: bytes stay bytes), and lines that say so."""

    range: Range
    stored: Range | None
    lines: list[str]

    def to_bytes(self, values: NDArray[Any]) -> Pixels:
        """Convert values; those outside of the range are clipped, NaN becomes 0."""
        if self.range == BYTES and values.dtype == np.uint8:
            return np.asarray(values, np.uint8)
        low, high = self.range
        finite = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low).clip(low, high)
        pixels: Pixels = np.rint((finite - low) * (255 / (high - low))).astype(np.uint8)
        return pixels


def choose_scale(blocks: Iterable[NDArray[Any]], wanted: Range | None, served: bool = False, origin: str = FLAG) -> Scale:
    """Look at all values. `wanted` is the range that the user or the model gives; `origin` says which of them.

    Bytes stay as they are. Floats from 0 to 1 or -1 to 1, zeros and ones, and numbers from 0 to 255 have the scale that is
    meant by them; any other numbers reach from the smallest to the largest, as `choose_range` says. If they are `served`, by
    a model without a range, they have the scale of pictures with such values instead: the same one in every file.
    """
    parts, strange, least, most = [], 0, np.inf, -np.inf
    kind = "u"
    is_bytes = True
    for block in blocks:
        kind, is_bytes = block.dtype.kind, block.dtype == np.uint8
        strange += block.size - int(np.isfinite(block).sum()) if kind == "f" else 0
        part = part_of(block.astype(np.uint8) if kind == "b" else block, KEPT)
        if part is not None:
            parts.append(part)
            least, most = min(least, part.range[0]), max(most, part.range[1])
    warnings = [f"warning: not finite numbers: {plural(strange, 'value')}; these become black or white"] if strange else []
    if not parts:
        return Scale(BYTES, None, [*warnings, "warning: no value is a number"])
    found = f"values: {range_text(least, most)}"
    if kind == "f" and most > HALF and any(0 < part.range[1] <= 1 for part in parts):
        warnings.append("warning: some parts have values up to 1 and others up to 255; bring them to one scale")
    if most == least and is_bytes:
        warnings.append(f"warning: all values are {least:.6g}")
    if is_bytes and most > least:
        warnings += dark_lines(most) if most > 1 else []
    if is_bytes and most > 1 and wanted is not None and origin == FLAG:
        warnings.append("warning: --range changes nothing, because the values are bytes")
    if is_bytes and (most > 1 or most == least):
        return Scale(BYTES, None, [f"{found} of 255", *warnings])
    if wanted is None and least >= 0 and most <= 1 and most > least:
        return Scale((0.0, 1.0), (0.0, 1.0) if kind == "f" else None, [f"{found}; 0 to 1 become 0 to 255", *warnings])
    if wanted is None and kind == "f" and -1 <= least < 0 < most <= 1:
        return Scale((-1.0, 1.0), (-1.0, 1.0), [f"{found}; -1 to 1 become 0 to 255", *warnings])
    if wanted is None and least >= 0 and HALF < most <= BYTES[1]:
        return Scale(BYTES, BYTES if kind == "f" else None, [f"{found}; taken as 0 to 255", *warnings])
    if wanted is None and served:
        scale = INTEGERS if kind != "f" else (0.0, 1.0) if most <= MOST_OF_UNIT else BYTES
        if most <= SLIVER * scale[1]:
            warnings.append(
                f"warning: values reach only {most:.6g} of {scale[1]:g}; use a model that was trained with --range"
            )
        return Scale(scale, None, [f"{found}; {range_text(*scale)} become 0 to 255, as in pictures", *warnings])
    chosen, line = choose_range(parts, wanted, "the arrays", origin)
    return Scale(chosen or BYTES, chosen, [line, *warnings])
