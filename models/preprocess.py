"""One picture (Pillow) -> uint8 (C, H, W) as a checkpoint's config.json says; the same in training and in serving.

Knows nothing of file formats, limits or HTTP: a caller opens the picture.
"""

from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

Pixels = NDArray[np.uint8]
Fit = Literal["pad", "crop", "stretch"]
Filter = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]

ORIENTATION = 0x0112  # the EXIF tag
# modes whose bytes are a grey of more than 8 bits
_DEEP = ("I", "F")


@dataclass(frozen=True)
class Preprocessing:
    """How any picture becomes the model's: stored as `preprocessing` in config.json.

    `fit` says how another aspect ratio is brought to height x width: "pad" keeps all of it on black, "crop" cuts the
    middle out, "stretch" distorts. A picture that has the size already is never resampled.
    """

    channels: int
    height: int
    width: int
    fit: Fit = "pad"
    filter: Filter = "bilinear"

    def __post_init__(self) -> None:
        """Raises ValueError when a value is not one of those above."""
        if self.fit not in get_args(Fit) or self.filter not in get_args(Filter):
            raise ValueError(f"unknown fit {short_repr(self.fit)} or filter {short_repr(self.filter)}")
        sizes = (self.channels, self.height, self.width)
        if not all(type(n) is int and n > 0 for n in sizes) or self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, height and width positive, not {short_repr(sizes)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


def preprocess(image: Image.Image, spec: Preprocessing) -> Pixels:
    """Bring one picture to the model's size and colours: any Pillow mode -> uint8 (C, H, W).

    EXIF orientation is applied, transparency lies over black, deep greys are reduced to 8 bits, CMYK, Lab and palettes
    become RGB. Raises what Pillow raises for a picture that it cannot decode.
    """
    mode = "L" if spec.channels == 1 else "RGB"
    plain = _on_black(_upright(image))
    pixels = np.asarray(_fit(_to_mode(plain, mode), spec))  # (H, W) or (H, W, 3)
    return np.ascontiguousarray(pixels[None] if spec.channels == 1 else pixels.transpose(2, 0, 1))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) of an opened picture after its EXIF orientation is applied; broken metadata count as none."""
    try:
        lying = image.getexif().get(ORIENTATION, 1) > 4  # stored on its side, as phones do
    except Exception:
        lying = False
    return (image.width, image.height) if lying else (image.height, image.width)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken metadata of any kind does not cost the picture
        return image


def _on_black(image: Image.Image) -> Image.Image:
    """Without transparency: in RGB or an opaque mode."""
    if image.mode in ("La", "RGBa"):  # colours multiplied by alpha already, that is: over black
        return Image.merge("RGB", image.split()[:3]) if image.mode == "RGBa" else image.getchannel(0)
    if not image.has_transparency_data or image.mode.startswith(_DEEP):
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """To "L" or "RGB"; grey stays exactly what it is."""
    if image.mode.startswith(_DEEP):
        image = _reduce_depth(image)
    elif image.mode == "LAB":
        to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        image = ImageCms.applyTransform(image, to_rgb) or image  # None only when it works in place
    elif image.mode not in ("1", "L", "RGB"):  # palettes, CMYK, YCbCr, HSV, RGBX ...
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _reduce_depth(image: Image.Image) -> Image.Image:
    """16-bit greys / 257; 32-bit ones likewise, cut to 16 bits; floats are in [0, 1], or, when above, 0 to 255.

    What is not a number is black.
    """
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("F"):
        values = np.nan_to_num(values, nan=0.0, posinf=255.0, neginf=0.0)
        scaled = values * 255 if values.max(initial=0) <= 1 else values
    else:
        scaled = values / 257
    return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8))


def _fit(image: Image.Image, spec: Preprocessing) -> Image.Image:
    """To width x height of `spec`."""
    size = (spec.width, spec.height)
    if image.size == size:
        return image
    resampling = Image.Resampling[spec.filter.upper()]
    if spec.fit == "stretch":
        return image.resize(size, resampling)
    if spec.fit == "crop":
        return ImageOps.fit(image, size, resampling)
    scale = min(spec.width / image.width, spec.height / image.height)
    inner = (
        min(spec.width, max(1, round(image.width * scale))),
        min(spec.height, max(1, round(image.height * scale))),
    )
    padded = Image.new(image.mode, size)
    padded.paste(image.resize(inner, resampling), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return padded
