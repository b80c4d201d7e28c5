"""Look at a whole set of picture files, to choose one range of values, one background and one ink for all of them.

Knows nothing of sizes, labels or models.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from models.depth import Range, is_deep
from models.files.regular_file import open_regular
from models.ink import Invert, has_light_border
from models.preprocess import Preprocessing, preprocess
from models.readers.left_out import of_all, plural
from models.readers.ranges import RANGE_FLAG, Part, choose_range, mixed_lines, part_of
from models.readers.survey import in_threads
from models.strip_metadata import strip_metadata
from models.transparency import Background, Ink, is_transparent, lowest_alpha

# So many values of the whole set, and at least one of each picture, are kept for the percentiles.
KEPT_VALUES = 1 << 22
# So many opaque pictures are looked at, and the ink is dark if at least this share of them has a light border.
LOOKED_AT, MOST = 500, 2 / 3
# Pictures are looked at in this size.
SMALL = 32


@dataclass(frozen=True)
class ValueOptions:
    """What the user says about the values; see `Preprocessing`. `range_source` says where the range comes from."""

    range: Range | None = None
    background: Background = "auto"
    invert: Invert = "no"
    range_source: str = RANGE_FLAG


def measure(files: Sequence[Path], spec: Preprocessing, wanted: ValueOptions) -> tuple[Preprocessing, list[str]]:
    """Return the specification with range, background, ink and invert filled in, and lines for the summary.

    Only pictures with more than 8 bits, or with transparency, are decoded, and up to LOOKED_AT others. Files that cannot be
    read are left out.
    """
    with ThreadPoolExecutor() as pool:
        kinds = list(in_threads(lambda i: _kind(files[i]), len(files), "looking at values"))
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
            what = f"pictures with more than 8 bits ({len(deep)} of {len(files)})"
            floats = "integers" not in kinds
            found, lines = choose_range(parts, wanted.range, what, wanted.range_source, floats)
            lines += mixed_lines(parts) if floats else []
            if {"integers", "floats"} <= set(kinds):
                lines.append(
                    "warning: some pictures have floats and some have integers of more than 8 bits, but get the same range; "
                    "convert them to one kind"
                )
        elif wanted.range is not None and wanted.range_source == RANGE_FLAG:
            lines.append("warning: --range changes nothing, because no picture has more than 8 bits")
        spec = replace(spec, range=found, background=wanted.background, invert=wanted.invert)
        looked_at = (opaque + deep)[:: max(1, -(-len(opaque + deep) // LOOKED_AT))]
        light = [border for border in pool.map(lambda file: _has_light_border(file, spec), looked_at) if border is not None]
        spec, about_ink = choose_ink(spec, light)
        if transparent:
            blank = sum(pool.map(lambda file: _is_blank(file, spec), transparent))
            lines.append(transparency_line(spec, len(transparent), len(files), blank))
    return spec, lines + about_ink


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


def transparency_line(spec: Preprocessing, transparent: int, files: int, blank: int = 0) -> str:
    """Return a line about the pictures that are partly transparent. `blank` of them have a single colour afterwards."""
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
            return part_of(np.asarray(image)[None], most)
    except Exception:
        return None


def light_border(image: Image.Image, spec: Preprocessing) -> bool:
    """Return whether a picture has a light border before `invert`."""
    return has_light_border(
        preprocess(image, replace(spec, channels=3, height=SMALL, width=SMALL, fit="stretch", invert="no"))
    )


def _has_light_border(path: Path, spec: Preprocessing) -> bool | None:
    try:
        with _opened(path) as image:
            return light_border(image, spec)
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
