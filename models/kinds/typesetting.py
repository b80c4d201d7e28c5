"""Texts -> pictures, black on white, in the font that Pillow carries. Knows nothing of models."""

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 256, 128
FONT_SIZE, LINE = 11, 13
COLUMNS = 44


def typeset(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return one picture for each text, uint8 (N, HEIGHT, WIDTH, 1). Long texts are cut, with an ellipsis."""
    font = ImageFont.load_default(FONT_SIZE)
    most = (HEIGHT - 4) // LINE
    pictures = np.full((len(texts), HEIGHT, WIDTH, 1), 255, np.uint8)
    for picture, text in zip(pictures, texts, strict=True):
        lines = [part for line in text.splitlines() for part in textwrap.wrap(line, COLUMNS, break_long_words=True) or [""]]
        if len(lines) > most:
            lines = [*lines[: most - 1], lines[most - 1] + "..."]
        image = Image.new("L", (WIDTH, HEIGHT), 255)
        draw = ImageDraw.Draw(image)
        for i, line in enumerate(lines):
            draw.text((4, 2 + i * LINE), line, fill=0, font=font)
        picture[..., 0] = np.asarray(image)
    return pictures
