"""Text for the font that Pillow carries, which has no letters with accents: "Köln" is drawn as "Koln", not with a box.

Only what is drawn changes, never the data. Characters without a near letter stay, and are drawn as a box.
"""

import unicodedata
from functools import cache

from PIL import ImageFont

# Letters that are no base letter with a mark, and a few signs.
NEAR = {
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d",
    "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "Ħ": "H", "ħ": "h", "Ŧ": "T", "ŧ": "t", "Ŋ": "N", "ŋ": "n",
    "µ": "u", "μ": "u", "–": "-", "—": "-", "×": "x", "€": "EUR", "£": "GBP",
}  # fmt: skip


def drawable(text: str) -> str:
    """Return a text with the nearest letters that the font has."""
    return text if text.isascii() else "".join(map(_drawable, text))


@cache
def _drawable(one: str) -> str:
    if one.isascii() or _has(one):
        return one
    found = NEAR.get(one) or "".join(part for part in unicodedata.normalize("NFKD", one) if not unicodedata.combining(part))
    return found if all(part.isascii() or _has(part) for part in found) else one


def _has(one: str) -> bool:
    """Return whether the font has a glyph for a character: other than that of a character which no font has."""
    font = ImageFont.load_default(20)
    return bytes(font.getmask(one)) != bytes(font.getmask("\uffff"))
