"""Make pictures opaque: blend them with black or white, draw their alpha as ink where it alone has the drawing, or drop it.

Knows nothing of files, sizes or depths.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from PIL import Image

from models.depth import is_deep

Background = Literal["auto", "black", "white"]
# Beside these, "drop" keeps the colours of transparent pixels as they are stored, as `convert("RGB")` of Pillow does.
AnyBackground = Literal[Background, "drop"]
Ink = Literal["light", "dark"]
# What to do with a picture: blend it with black or with white, draw its alpha (light on dark, or dark on light), or drop it.
Blend = Literal["black", "white", "light", "dark", "drop"]

PREMULTIPLIED = ("La", "RGBa")
# Colours of fainter pixels are rounded too much to be compared.
VISIBLE = 64
# A drawing has a single colour if no channel of its visible pixels differs by more than this.
SAME_COLOR = 24


def is_transparent(image: Image.Image) -> bool:
    """Return whether a picture has alpha. Pillow gives no alpha of pictures with more than 8 bits."""
    return not is_deep(image.mode) and (image.mode in PREMULTIPLIED or image.has_transparency_data)


def choose_blend(parts: Iterable[Image.Image], background: AnyBackground, ink: Ink, channels: int) -> Blend:
    """Return what to do with a transparent picture, which is given in parts.

    "auto" blends with the background of the ink, unless alpha varies and the visible pixels have a single colour: then the
    alpha is the drawing, whatever the colour. Models of colours keep the colour unless it would vanish in the background.
    """
    if background != "auto":
        return background
    usual: Blend = "black" if ink == "light" else "white"
    alphas: list[int] = []
    darkest, brightest = np.full(3, 255), np.zeros(3, np.int64)
    for part in parts:
        pixels = np.asarray(_rgba(part)).reshape(-1, 4)  # (n, 4)
        alpha = pixels[:, 3]
        alphas += [int(alpha.min()), int(alpha.max())]
        colors = pixels[alpha >= VISIBLE, :3]
        if len(colors):
            darkest = np.minimum(darkest, colors.min(0))
            brightest = np.maximum(brightest, colors.max(0))
            if (brightest - darkest > SAME_COLOR).any():
                return usual
    if min(alphas) == max(alphas) or max(alphas) < VISIBLE:
        return usual
    vanishes = brightest.max() <= SAME_COLOR if usual == "black" else darkest.min() >= 255 - SAME_COLOR
    return ink if channels == 1 or vanishes else usual


def blended(image: Image.Image, blend: Blend) -> Image.Image:
    """Return a transparent picture, or a part of one, without alpha."""
    if image.mode in PREMULTIPLIED and blend == "black":  # The colours are blended with black already.
        return Image.merge("RGB", image.split()[:3]) if image.mode == "RGBa" else image.getchannel(0)
    rgba = _rgba(image)
    if blend == "drop":
        return rgba.convert("RGB")
    if blend == "light":
        return rgba.getchannel("A")
    if blend == "dark":
        return rgba.getchannel("A").point(lambda alpha: 255 - alpha)
    value = 255 if blend == "white" else 0
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (value, value, value, 255)), rgba).convert("RGB")


def lowest_alpha(image: Image.Image) -> int:
    """Return the alpha of the most transparent pixel, 0 to 255."""
    return int(np.asarray(_rgba(image).getchannel("A")).min())


def _rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
