"""Join several pictures to one, and enlarge it. Knows nothing of models or requests."""

import math

import numpy as np

from models.mosaic import tile
from models.preprocess import Pixels

# The gap between the tiles of one picture.
GAP_PIXELS = 2
# So many originals stand beside each other in a grid, each above its reconstruction.
COMPARED_COLUMNS = 10


def arrange(pictures: Pixels, layout: str) -> Pixels:
    """Join pictures (N, H, W, C) to one: a grid that is nearly square, a row, or a column."""
    count = len(pictures)
    columns = {"grid": math.ceil(math.sqrt(count)), "row": count, "column": 1}[layout]
    return tile(pictures, columns, GAP_PIXELS) if count > 1 else pictures[0]


def beside(originals: Pixels, reconstructions: Pixels, layout: str) -> Pixels:
    """Join originals and reconstructions to one picture: above each other (grid, row), or side by side (column)."""
    count = len(originals)
    if layout == "column":
        return tile(np.stack([originals, reconstructions], 1).reshape(-1, *originals.shape[1:]), 2, GAP_PIXELS)
    columns = count if layout == "row" else min(count, COMPARED_COLUMNS)
    rows: list[Pixels] = []
    for start in range(0, count, columns):
        for pictures in (originals, reconstructions):
            blank = np.zeros((columns, *pictures.shape[1:]), np.uint8)
            part = pictures[start : start + columns]
            blank[: len(part)] = part
            rows.extend(blank)
    return tile(np.stack(rows), columns, GAP_PIXELS)


def size_of(count: int, shape: tuple[int, int], layout: str, compare: bool) -> tuple[int, int]:
    """Return height and width of the picture that `arrange`, or `beside` if `compare`, makes of several of a shape (H, W)."""
    columns, total = {"grid": math.ceil(math.sqrt(count)), "row": count, "column": 1}[layout], count
    if compare:
        total = 2 * count
        columns = {"grid": min(count, COMPARED_COLUMNS), "row": count, "column": 2}[layout]
    rows = math.ceil(count / columns) * 2 if compare and layout != "column" else math.ceil(total / columns)
    return tiled_size(rows, columns, shape)


def tiled_size(rows: int, columns: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of rows of pictures of a shape (H, W) in one picture."""
    return rows * (shape[0] + GAP_PIXELS) - GAP_PIXELS, columns * (shape[1] + GAP_PIXELS) - GAP_PIXELS


def enlarge(pixels: Pixels, scale: int) -> Pixels:
    """Repeat each pixel of (..., H, W, C) `scale` times in both directions, which is nearest neighbour."""
    return pixels if scale == 1 else np.repeat(np.repeat(pixels, scale, -3), scale, -2)
