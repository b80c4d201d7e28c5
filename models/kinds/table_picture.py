"""What a row of a table looks like: a card with a line for each column, its value, and a bar for numbers.

Knows nothing of nets, files or HTTP.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.kinds.column import Column
from models.kinds.letters import drawable

MOST_LINES = 24  # columns that a card shows
WIDTH, LINE, MARGIN = 240, 13, 4
BAR = 60  # pixels of the range of the training rows, at the right
INK, FAINT, BAR_INK = (30, 30, 30), (215, 220, 228), (60, 110, 180)
ELLIPSIS = 17  # characters of a name or a value


def drawn(rows: NDArray[Any], columns: Sequence[Column]) -> NDArray[np.uint8]:
    """Return a card of each row: (N, K) -> uint8 (N, H, W, 3). The first MOST_LINES columns are shown."""
    shown = columns[:MOST_LINES]
    height = LINE * (len(shown) + (len(columns) > MOST_LINES)) + 2 * MARGIN
    cards = [_card(row, shown, height, len(columns) - len(shown)) for row in np.asarray(rows, np.float64).tolist()]
    return np.stack(cards) if cards else np.empty((0, height, WIDTH, 3), np.uint8)


def _card(row: Sequence[float], columns: Sequence[Column], height: int, more: int) -> NDArray[np.uint8]:
    card = Image.new("RGB", (WIDTH, height), "white")
    draw, font = ImageDraw.Draw(card), ImageFont.load_default(10)
    for i, (column, entry) in enumerate(zip(columns, row, strict=False)):
        top = MARGIN + i * LINE
        missing = np.isnan(entry)
        draw.text((MARGIN, top), _short(column.name), INK, font)
        draw.text((WIDTH // 2 - 8, top), "missing" if missing else _short(column.text_of(entry)), INK, font)
        left = WIDTH - MARGIN - BAR
        if column.type == "number":
            draw.rectangle((left, top + 3, left + BAR, top + LINE - 4), FAINT)
            if not missing:
                share = (column.raw(entry) - column.low) / (column.high - column.low)
                place = left + round(BAR * min(max(share, 0.0), 1.0))
                draw.rectangle((left, top + 3, place, top + LINE - 4), BAR_INK)
    if more:
        draw.text((MARGIN, MARGIN + len(columns) * LINE), f"and {more} more columns", INK, font)
    return np.asarray(card)


def _short(text: str) -> str:
    text = drawable("".join(one if one.isprintable() else " " for one in text))
    return text if len(text) <= ELLIPSIS else text[: ELLIPSIS - 1] + "…"
