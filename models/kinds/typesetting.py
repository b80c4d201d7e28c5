"""Texts -> pictures, black on white, in the font that Pillow carries, without accents. Knows nothing of models."""

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.kinds.glyphs import write
from models.kinds.letters import drawable

WIDTH, HEIGHT = 256, 128
# Font size -> (height of a line, characters in it). Short texts are large.
SIZES = {30: (36, 15), 22: (26, 21), 16: (19, 30), 11: (13, 44)}


def typeset(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return one picture for each text, uint8 (N, HEIGHT, WIDTH, 1). Long texts are cut, with an ellipsis."""
    pictures = np.full((len(texts), HEIGHT, WIDTH, 1), 255, np.uint8)
    for picture, text in zip(pictures, texts, strict=True):
        size, lines = _fitted(drawable(text))
        image = Image.new("L", (WIDTH, HEIGHT), 255)
        for i, line in enumerate(lines):
            write(image, 4, 2 + i * SIZES[size][0], line, size, 0)
        picture[..., 0] = np.asarray(image)
    return pictures


def _fitted(text: str) -> tuple[int, list[str]]:
    """Return the largest font size in which a text has room, and its lines."""
    for size, (height, columns) in SIZES.items():
        lines = [part for line in text.splitlines() for part in textwrap.wrap(line, columns, break_long_words=True) or [""]]
        if len(lines) <= (most := (HEIGHT - 4) // height):
            return size, lines
    return size, [*lines[: most - 1], lines[most - 1] + "..."]
