"""Polylines -> pictures: black lines on white, the whole drawing in a square. Knows nothing of models."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.drawings.polylines import Points
from models.drawings.svg_text import MARGIN, PEN

SIDE = 64
FINER = 4  # drawn so many times as large, and reduced by averaging


def render(polylines: Sequence[Points], side: int = SIDE) -> NDArray[np.uint8]:
    """Return the picture, uint8 (side, side, 1). No lines give a white one."""
    large = side * FINER
    image = Image.new("L", (large, large), 255)
    lines = [line for line in polylines if len(line)]
    if lines:
        places = np.concatenate(lines)
        low, high = places.min(0), places.max(0)
        size = float((high - low).max()) or 1.0
        factor = large / (size * (1 + 2 * MARGIN))
        width = max(FINER, round(large * PEN))
        draw = ImageDraw.Draw(image)
        for line in lines:
            shown = (line - (low + high) / 2) * factor + large / 2
            if len(shown) > 1:
                draw.line([tuple(place) for place in shown.tolist()], fill=0, width=width, joint="curve")
            for x, y in (shown[0], shown[-1]):
                draw.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=0)
    return np.asarray(image.reduce(FINER))[..., None]
