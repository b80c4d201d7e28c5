"""Text drawn character by character, in the font that Pillow carries; each character is set once. Knows nothing of models."""

from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

MOST_GLYPHS = 2048  # of a few hundred bytes
SIDE = 2  # pixels to the left of the origin, for characters that begin there

Ink = int | tuple[int, int, int]


def write(picture: Image.Image, left: int, top: int, text: str, size: int, ink: Ink) -> None:
    """Write a line of text onto a picture, without kerning."""
    place, right = float(left), picture.width
    for one in text:
        mask, advance = _glyph(one, size)
        picture.paste(ink, (round(place) - SIDE, top), mask)
        place += advance
        if place > right:
            return


@lru_cache(MOST_GLYPHS)
def _glyph(one: str, size: int) -> tuple[Image.Image, float]:
    """Return a character as a mask, and how far the next one stands from it."""
    font = _font(size)
    advance = float(font.getlength(one))
    mask = Image.new("L", (int(advance) + 2 * SIDE + 2, size * 3 // 2), 0)
    ImageDraw.Draw(mask).text((SIDE, 0), one, 255, font)
    return mask, advance


@lru_cache(8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
