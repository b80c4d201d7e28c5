"""Look at a whole set of picture files, to choose one range of values, one background and one ink for all of them.

Knows nothing of sizes, labels or models.
"""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.depth import SLIVER, Range, extremes, is_deep
from models.files.regular_file import open_regular
from models.ink import Invert, has_light_border
from models.preprocess import Preprocessing, preprocess
from models.readers.left_out import of_all, plural
from models.strip_metadata import strip_metadata
from models.transparency import Background, Ink, is_transparent, lowest_alpha

FLAG, MODEL = "--range", "the range of the model"
# So many values of the whole set, and at least one of each picture, are kept for the percentiles.
KEPT_VALUES = 1 << 22
# Percentiles replace the extremes if they make the range more than STRETCH times as narrow.
PERCENTILES, STRETCH = (0.1, 99.9), 2.0
# So many opaque pictures are looked at, and the ink is dark if at least this share of them has a light border.
LOOKED_AT, MOST = 500, 2 / 3
# Pictures are looked at in this size.
SMALL = 32


@dataclass(frozen=True)
class ValueOptions:
    """What the user says about the values; see `Preprocessing`."""

    range: Range | None = None
    background: Background = "auto"
    invert: Invert = "no"


def measure(files: Sequence[Path], spec: Preprocessing, wanted: ValueOptions) -> tuple[Preprocessing, list[str]]:
    """Return the specification with range, background, ink and invert filled in, and lines for the summary.

    Only pictures with more than 8 bits, or with transparency, are decoded, and up to LOOKED_AT others. Files that cannot be
    read are left out.
    """
    with ThreadPoolExecutor() as pool:
        kinds = list(pool.map(_kind, files))
        deep = [file for file, kind in zip(files, kinds, strict=True) if kind in ("integers", "floats")]
        transparent = [file for file, kind in zip(files, kinds, strict=True) if kind == "transparent"]
        opaque = [file for file, kind in zip(files, kinds, strict=True) if kind == "opaque"]
        seen_through = list(pool.map(_has_transparent_pixels, transparent))
        opaque += [file for file, through in zip(transparent, seen_through, strict=True) if not through]
        transparent = [file for file, through in zip(transparent, seen_through, strict=True) if through]
        lines: list[str] = []
        found = wanted.range
        if deep:
            each = max(1, KEPT_VALUES // len(deep))
            parts = [part for part in pool.map(lambda file: _values(file, each), deep) if part is not None]
            found, line = choose_range(parts, wanted.range, f"pictures with more than 8 bits ({len(deep)} of {len(files)})")
            lines.append(line)
            if {"integers", "floats"} <= set(kinds):
                lines.append(
                    "warning: some pictures have floats and some have integers of more than 8 bits, but get the same range; "
                    "convert them to one kind"
                )
        elif wanted.range is not None:
            lines.append("warning: --range changes nothing, because no picture has more than 8 bits")
        spec = replace(spec, range=found, background=wanted.background, invert=wanted.invert)
        looked_at = (opaque + deep)[:: max(1, -(-len(opaque + deep) // LOOKED_AT))]
        light = [border for border in pool.map(lambda file: _has_light_border(file, spec), looked_at) if border is not None]
        spec, about_ink = choose_ink(spec, light)
        if transparent:
            blank = sum(pool.map(lambda file: _is_blank(file, spec), transparent))
            lines.append(_about_transparency(spec, len(transparent), len(files), blank))
    return spec, lines + about_ink


def choose_range(parts: Iterable["Part"], wanted: Range | None, what: str, origin: str = FLAG) -> tuple[Range | None, str]:
    """Return the range of a set of pictures, and a line that says so; None if all values are equal.

    It reaches from the smallest to the largest value. If that is more than twice as wide as from the 0.1 to the 99.9
    percentile, a few pixels are outliers, and the percentiles are the range. `origin` says where `wanted` comes from.
    """
    parts = list(parts)
    least, most = extremes(np.array([part.range for part in parts]).reshape(-1, 2))
    found = f"values: {least:.6g} to {most:.6g}"
    if wanted is not None:
        outside = sum(part.range[0] < wanted[0] or part.range[1] > wanted[1] for part in parts)
        clipped = f"; {outside} of {len(parts)} have values outside, which are clipped" if outside else ""
        return wanted, f"{found} in {what}; {wanted[0]:.6g} to {wanted[1]:.6g} ({origin}) become 0 to 255{clipped}"
    if least == most:
        return None, f"warning: all values are {least:.6g} in {what}; no range is chosen"
    low, high = (float(value) for value in np.percentile(np.concatenate([part.sample for part in parts]), PERCENTILES))
    if high > low and most - least > STRETCH * (high - low):
        return (low, high), (
            f"{found} in {what}, but {PERCENTILES[1] - PERCENTILES[0]:g} % of them are from {low:.6g} to {high:.6g}: these "
            "become 0 to 255, and the others are clipped; --range LO,HI sets another range"
        )
    return (least, most), f"{found} in {what} become 0 to 255"


class Part(NamedTuple):
    """The values of one picture or array: the smallest and the largest, and a sample of all."""

    range: Range
    sample: NDArray[Any]


def part_of(values: NDArray[Any], most: int) -> Part | None:
    """Return the finite values of an array, of which at most `most` are kept, evenly spaced; None if there are none."""
    flat = values.reshape(-1)
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    if not flat.size:
        return None
    return Part((float(flat.min()), float(flat.max())), flat[:: max(1, -(-flat.size // most))].astype(np.float64))


def dark_lines(most: float) -> list[str]:
    """Return a warning if the largest byte of all pictures is small, as in masks of zeros and ones; else nothing."""
    if most > SLIVER * 255:
        return []
    return [
        f"warning: the largest value is {most:g} of 255, so all pictures are nearly black; if the values have a scale of "
        f"their own, as in masks, multiply them by {255 // most:.0f} and save them again"
    ]


def choose_ink(spec: Preprocessing, light: Sequence[bool]) -> tuple[Preprocessing, list[str]]:
    """Return the specification with the ink of a set, whose opaque pictures have light borders or not, and a line about it.

    Without opaque pictures, `background` decides. The ink is that of the pictures as they will be, after `invert`.
    """
    share = sum(light) / len(light) if light else float(spec.background == "white")
    ink: Ink = "dark" if share >= MOST else "light"
    lines = []
    if light and ink == "dark":
        lines.append(f"ink: {sum(light)} of {plural(len(light), 'opaque picture')} have light borders: dark on light")
    if spec.invert == "yes":
        # Transparent pictures get the background that opaque ones have before they are inverted.
        background = spec.background if spec.background != "auto" else "white" if ink == "dark" else "black"
        ink = "light" if ink == "dark" else "dark"
        spec = replace(spec, background=background)
        lines.append(f"all pictures are inverted: {ink} on {'dark' if ink == 'light' else 'light'} from now on")
    elif spec.invert == "auto" and light:
        odd = sum(light) if ink == "light" else len(light) - sum(light)
        lines.append(
            f"{odd} of {plural(len(light), 'opaque picture')} contradict the others' borders; such pictures are inverted"
        )
    return replace(spec, ink=ink), lines


def _about_transparency(spec: Preprocessing, transparent: int, files: int, blank: int) -> str:
    background = spec.background if spec.background != "auto" else "black" if spec.ink == "light" else "white"
    others = ", as the opaque ones are" if transparent < files and spec.background == "auto" else ""
    line = f"{of_all(transparent, files, 'picture')} partly transparent, and put on {background}{others}"
    if spec.background == "auto":
        line += " (drawings of a single colour are drawn by their transparency)"
    if blank:
        line += f"; warning: {blank} of them {'becomes' if blank == 1 else 'become'} blank: try another --background"
    return line


def _opened(path: Path) -> Image.Image:
    with open_regular(path) as file:
        return Image.open(io.BytesIO(strip_metadata(file.read())))


def _kind(path: Path) -> str | None:
    """Return integers, floats, transparent or opaque, by the header alone; None for a file that is not a picture."""
    try:
        with open_regular(path) as file, Image.open(file) as image:
            if is_deep(image.mode):
                return "floats" if image.mode.startswith("F") else "integers"
            return "transparent" if is_transparent(image) else "opaque"
    except Exception:  # A hostile file may raise anything. The reader of the folder reports it.
        return None


def _has_transparent_pixels(path: Path) -> bool:
    try:
        with _opened(path) as image:
            return lowest_alpha(image) < 255
    except Exception:
        return False


def _values(path: Path, most: int) -> Part | None:
    try:
        with _opened(path) as image:
            return part_of(np.asarray(image), most)
    except Exception:
        return None


def _has_light_border(path: Path, spec: Preprocessing) -> bool | None:
    """Return whether a picture has a light border before `invert`; None if it cannot be read."""
    small = replace(spec, channels=3, height=SMALL, width=SMALL, fit="stretch", invert="no")
    try:
        with _opened(path) as image:
            return has_light_border(preprocess(image, small))
    except Exception:
        return None


def _is_blank(path: Path, spec: Preprocessing) -> bool:
    notes: list[tuple[str, str]] = []
    try:
        with _opened(path) as image:
            preprocess(image, spec, notes)
    except Exception:
        return False
    return any(code == "blank" for code, _ in notes)
