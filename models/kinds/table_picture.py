"""What a row of a table looks like: a card with a line for each column, its value, and a bar for numbers.

Knows nothing of nets, files or HTTP.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.kinds.column import Column
from models.kinds.glyphs import write
from models.kinds.letters import drawable

MOST_LINES = 24  # columns that a card shows
WIDTH, LINE, MARGIN = 240, 13, 4
BAR = 60  # pixels of the range of the training rows, at the right
INK, FAINT, BAR_INK = (30, 30, 30), (215, 220, 228), (60, 110, 180)
LEFT = WIDTH - MARGIN - BAR
SIZE = 10  # of the font
ELLIPSIS = 17  # characters of a name or a value


def drawn(rows: NDArray[Any], columns: Sequence[Column]) -> NDArray[np.uint8]:
    """Return a card of each row: (N, K) -> uint8 (N, H, W, 3). The first MOST_LINES columns are shown."""
    shown = columns[:MOST_LINES]
    height = LINE * (len(shown) + (len(columns) > MOST_LINES)) + 2 * MARGIN
    ground = _ground(shown, height, len(columns) - len(shown))
    cards = [_card(row, shown, ground) for row in np.asarray(rows, np.float64).tolist()]
    return np.stack(cards) if cards else np.empty((0, height, WIDTH, 3), np.uint8)


def _ground(columns: Sequence[Column], height: int, more: int) -> Image.Image:
    """Return what all cards have: the names of the columns, and the ranges of numbers."""
    card = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(card)
    for i, column in enumerate(columns):
        top = MARGIN + i * LINE
        write(card, MARGIN, top, _short(column.name), SIZE, INK)
        if column.type == "number":
            draw.rectangle((LEFT, top + 3, LEFT + BAR, top + LINE - 4), FAINT)
    if more:
        write(card, MARGIN, MARGIN + len(columns) * LINE, f"and {more} more columns", SIZE, INK)
    return card


def _card(row: Sequence[float], columns: Sequence[Column], ground: Image.Image) -> NDArray[np.uint8]:
    card = ground.copy()
    draw = ImageDraw.Draw(card)
    for i, (column, entry) in enumerate(zip(columns, row, strict=False)):
        top = MARGIN + i * LINE
        missing = np.isnan(entry)
        write(card, WIDTH // 2 - 8, top, "missing" if missing else _short(column.text_of(entry)), SIZE, INK)
        if column.type == "number" and not missing:
            share = (column.raw(entry) - column.low) / (column.high - column.low)
            place = LEFT + round(BAR * min(max(share, 0.0), 1.0))
            draw.rectangle((LEFT, top + 3, place, top + LINE - 4), BAR_INK)
    return np.asarray(card)


def _short(text: str) -> str:
    text = drawable("".join(one if one.isprintable() else " " for one in text))
    return text if len(text) <= ELLIPSIS else text[: ELLIPSIS - 1] + "…"
