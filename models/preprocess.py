"""Convert a Pillow picture to uint8 (C, H, W), as a checkpoint's config.json says; the same in training and in serving.

A large picture is converted in strips, with bit-identical results. That takes a few megabytes beside the decoded picture;
converting all of it at once would need at least one full copy per step. Knows nothing of file formats, limits or HTTP: the
caller opens the picture.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from reprlib import repr as short_repr
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile

from models.depth import Depth, Note, Range, depth_of
from models.ink import CONTRADICTS, blank_note, contradicts, in_ink
from models.ink import Invert as Invert
from models.placement import AnyFit as AnyFit
from models.placement import Fit as Fit
from models.placement import WrongSize as WrongSize
from models.placement import placed
from models.transparency import AnyBackground, Blend, Ink, blended, choose_blend, is_transparent
from models.transparency import Background as Background

Pixels = NDArray[np.uint8]
Filter = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]

ORIENTATION = 0x0112  # the EXIF tag
# Maps an EXIF orientation to the transposition that makes the stored picture upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Orientations that swap width and height, and those whose upright left or top edge is the stored right or bottom edge.
_SIDEWAYS = {5, 6, 7, 8}
_FROM_THE_RIGHT, _FROM_THE_BOTTOM = {2, 3, 7, 8}, {3, 4, 6, 7}
# Pixels of one strip; a picture with no more pixels is converted in one piece.
STRIP_PIXELS = 1 << 16
# A JPEG with more pixels is decoded at 1/2, 1/4 or 1/8 of its size, if the result has at least 4 times the model's size.
DRAFT_PIXELS, DRAFT_MARGIN = 1 << 20, 4


@dataclass(frozen=True)
class Preprocessing:
    """The conversion of pictures for the model; stored as `preprocessing` in config.json.

    `fit` says what happens to another aspect ratio: "pad" keeps the whole picture and adds bars, "crop" cuts out the
    middle, "stretch" distorts. A picture that already has the right size is never resampled. For nets that take pictures of
    any size, "exact" refuses those of another size, and "any_size" keeps the size of a picture: it cuts out the middle, so
    that the sides become multiples of `height` and `width`.

    `range` has the values that become 0 and 255 in pictures with more than 8 bits (None: see `depth_of`). `ink` says how the
    training pictures look: light on dark, or dark on light; the bars of "pad" are its background. `background` says what
    becomes of transparency (see `choose_blend`). `invert` applies after everything else; "auto" inverts pictures whose border
    contradicts `ink`.
    """

    channels: int
    height: int
    width: int
    fit: AnyFit = "pad"
    filter: Filter = "bilinear"
    range: Range | None = None
    background: AnyBackground = "auto"
    ink: Ink = "light"
    invert: Invert = "no"

    def __post_init__(self) -> None:
        """Raise ValueError if a value is not allowed."""
        for name, known in (("background", AnyBackground), ("ink", Ink), ("invert", Invert)):
            if getattr(self, name) not in get_args(known):
                allowed = ", ".join(get_args(known))
                raise ValueError(f"{name} must be one of {allowed}, not {short_repr(getattr(self, name))}")
        if self.range is not None:
            object.__setattr__(self, "range", checked_range(self.range))
        if self.fit not in get_args(AnyFit) or self.filter not in get_args(Filter):
            raise ValueError(f"unknown fit {short_repr(self.fit)} or filter {short_repr(self.filter)}")
        sizes = (self.channels, self.height, self.width)
        if not all(type(n) is int and n > 0 for n in sizes) or self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, height and width positive, not {short_repr(sizes)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a converted picture, (C, H, W)."""
        return self.channels, self.height, self.width

    def stored(self) -> dict[str, Any]:
        """Return what config.json holds: values that older software does not know are left out where they change nothing."""
        values = dataclasses.asdict(self)
        for field in dataclasses.fields(self):
            if field.name in ("range", "background", "ink", "invert") and values[field.name] == field.default:
                del values[field.name]
        return values


def checked_range(values: Any) -> Range:
    """Return a range as two floats. Raises ValueError if it is not two finite numbers, of which the first is smaller."""
    if isinstance(values, (list, tuple)) and len(values) == 2 and all(type(n) in (int, float) for n in values):
        low, high = (float(n) for n in values)
        if low < high and math.isfinite(high - low) and math.isfinite(255 / (high - low)):
            return low, high
    raise ValueError(f"range must be two numbers, of which the first is smaller, not {short_repr(values)}")


@dataclass(frozen=True)
class _Plan:
    """What is decided once for a whole picture and then done to each part of it."""

    mode: str  # "L" or "RGB"
    depth: Depth | None
    blend: Blend | None


def preprocess(image: Image.Image, spec: Preprocessing, notes: list[Note] | None = None) -> Pixels:
    """Convert one picture to the model's size and colours: any Pillow mode -> uint8 (C, H, W).

    EXIF orientation is applied, transparency is blended with a background, deep greys are reduced to 8 bits, and CMYK, Lab
    and palettes become RGB. A large JPEG is decoded at a fraction of its size (see `draft`). `notes` receives what cannot be
    right: `blank`, `clipped`, `low_range`, and `cut` for a picture that was cut with the fit "any_size". Raises WrongSize, and
    whatever Pillow raises for a picture that it cannot decode.
    """
    draft(image, spec)
    image.load()
    orientation = _orientation(image)
    size = (image.height, image.width) if orientation in _SIDEWAYS else image.size
    inner, box = placed(size, spec)
    if notes is not None and spec.fit == "any_size" and inner != size:
        notes.append(
            ("cut", f"the middle, {inner[1]} x {inner[0]} pixels, was cut out of {size[1]} x {size[0]} (height x width)")
        )
    parts = partial(_parts, image)
    depth = depth_of(image.mode, parts, spec.range, notes)
    blend = choose_blend(parts(), spec.background, spec.ink, spec.channels) if is_transparent(image) else None
    plan = _Plan("L" if spec.channels == 1 else "RGB", depth, blend)
    if image.width * image.height <= STRIP_PIXELS:
        fitted = _plain(_turned(image, orientation), plan).resize(inner, _resampling(spec), box)
    else:
        fitted = _fit_in_strips(image, orientation, size, inner, box, plan, spec)
    pixels = np.asarray(fitted)  # (h, w) or (h, w, 3)
    pixels = pixels[None] if spec.channels == 1 else pixels.transpose(2, 0, 1)  # (C, h, w)
    pixels = in_ink(pixels, spec.ink, spec.invert)
    if notes is not None:
        after = ""
        if blend in ("black", "white"):
            after = f" after blending the transparent picture with {blend}; try another background"
        blank = blank_note(pixels, after)
        notes.extend([blank] if blank else [])
        if spec.fit != "any_size" and pixels.shape != spec.shape and contradicts(pixels, spec.ink):
            notes.append((CONTRADICTS, ""))
    return np.ascontiguousarray(_padded(pixels, spec))


def _padded(pixels: Pixels, spec: Preprocessing) -> Pixels:
    """Put a picture (C, h, w) into the middle of one of the model's size, on the background of the ink."""
    if pixels.shape == spec.shape or spec.fit == "any_size":
        return pixels
    height, width = pixels.shape[1:]
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    padded = np.full(spec.shape, 0 if spec.ink == "light" else 255, np.uint8)
    padded[:, top : top + height, left : left + width] = pixels
    return padded


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (height, width) of an opened picture after its EXIF orientation is applied; broken metadata is ignored."""
    return (image.width, image.height) if _orientation(image) in _SIDEWAYS else (image.height, image.width)


def draft(image: Image.Image, spec: Preprocessing) -> None:
    """Make Pillow decode an opened JPEG at 1/2, 1/4 or 1/8 of its size, if it is much larger than the model's pictures.

    `image.size` is the smaller size from then on. The result still has at least four times the model's width and height, so
    that the final picture differs only by rounding. Decoding takes a fraction of the time and memory.
    """
    width, height = image.size
    if spec.fit in ("exact", "any_size"):  # They never resample.
        return
    if not isinstance(image, JpegImageFile) or not image.tile or image.decoderconfig or width * height <= DRAFT_PIXELS:
        return
    if _orientation(image) in _SIDEWAYS:
        width, height = height, width
    ratios = width / spec.width, height / spec.height
    ratio = (max(ratios) if spec.fit == "pad" else min(ratios)) / DRAFT_MARGIN
    if ratio >= 2:
        scale = 8 if ratio >= 8 else 4 if ratio >= 4 else 2
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if the metadata is missing or broken."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
        return int(found) if found in _TURNS else 1
    except Exception:
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _resampling(spec: Preprocessing) -> Image.Resampling:
    return Image.Resampling[spec.filter.upper()]


def _fit_in_strips(
    image: Image.Image,
    orientation: int,
    size: tuple[int, int],
    inner: tuple[int, int],
    box: tuple[float, float, float, float],
    plan: _Plan,
    spec: Preprocessing,
) -> Image.Image:
    """Resample a large picture in strips, with the same result as Pillow's `resize` of the whole picture.

    Pillow resamples horizontally, rounds to bytes, then resamples vertically, or in the other order if the height shrinks
    much more than the width. The first of the two passes can be done for one strip at a time.
    """
    (width, height), mode = size, plan.mode
    lines = not height - inner[1] > max(0, 2 * (width - inner[0]))  # The same rule as Pillow's.
    halfway = Image.new(mode, (inner[0], height) if lines else (width, inner[1]))
    along, across = (width, height) if lines else (height, width)
    for start, end in _spans(across, max(1, STRIP_PIXELS // along)):
        strip = Image.new(mode, (width, end - start) if lines else (end - start, height))
        for first, last in _spans(along, STRIP_PIXELS):
            part = (first, start, last, end) if lines else (start, first, end, last)
            stored = image.crop(_stored_box(part, image.size, orientation))
            strip.paste(_plain(_turned(stored, orientation), plan), (first, 0) if lines else (0, first))
        if lines:
            strip = strip.resize((inner[0], end - start), _resampling(spec), (box[0], 0.0, box[2], float(end - start)))
        else:
            strip = strip.resize((end - start, inner[1]), _resampling(spec), (0.0, box[1], float(end - start), box[3]))
        halfway.paste(strip, (0, start) if lines else (start, 0))
    rest = (0.0, box[1], float(inner[0]), box[3]) if lines else (box[0], 0.0, box[2], float(inner[1]))
    return halfway.resize(inner, _resampling(spec), rest)


def _spans(length: int, step: int) -> Iterator[tuple[int, int]]:
    return ((start, min(length, start + step)) for start in range(0, length, step))


def _stored_box(box: tuple[int, int, int, int], size: tuple[int, int], orientation: int) -> tuple[int, int, int, int]:
    """Convert a box of the upright picture into a box of the stored picture, which has this size."""
    left, top, right, bottom = box
    if orientation in _SIDEWAYS:
        left, top, right, bottom = top, left, bottom, right
    if orientation in _FROM_THE_RIGHT:
        left, right = size[0] - right, size[0] - left
    if orientation in _FROM_THE_BOTTOM:
        top, bottom = size[1] - bottom, size[1] - top
    return left, top, right, bottom


def _parts(image: Image.Image) -> Iterator[Image.Image]:
    """Return a picture in parts of at most STRIP_PIXELS pixels, so that looking at all of it takes little memory."""
    width, height = image.size
    if width * height <= STRIP_PIXELS:
        yield image
        return
    for top, bottom in _spans(height, max(1, STRIP_PIXELS // width)):
        for left, right in _spans(width, STRIP_PIXELS):
            yield image.crop((left, top, right, bottom))


def _plain(image: Image.Image, plan: _Plan) -> Image.Image:
    """Convert a picture, or a part of one, to "L" or "RGB" with 8 bits and without transparency; other greys stay exact."""
    if plan.blend is not None:
        image = blended(image, plan.blend)
    elif plan.depth is not None:
        image = plan.depth.reduce(image)
    if image.mode == "LAB":
        image = ImageCms.applyTransform(image, _lab_to_rgb()) or image  # None only for in-place use
    elif image.mode not in ("1", "L", "RGB"):  # Palettes, CMYK, YCbCr, HSV, RGBX and so on.
        image = image.convert("RGB")
    return image if image.mode == plan.mode else image.convert(plan.mode)


@cache  # Building the transform takes milliseconds.
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
