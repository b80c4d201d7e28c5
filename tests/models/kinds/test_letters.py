"""Names with accents are drawn with letters that the font has, not with boxes."""

import numpy as np
from PIL import ImageFont

from models.kinds.column import Column
from models.kinds.letters import drawable
from models.kinds.table_picture import drawn
from models.kinds.typesetting import typeset


def test_letters_that_the_font_lacks_become_the_nearest_ones() -> None:
    assert drawable("Köln, Weißenburg, Łódź, Ærø, naïve") == "Koln, Weissenburg, Lodz, AEro, naive"
    assert drawable("plain … 100 %") == "plain … 100 %"
    assert drawable("中") == "中", "no letter is near it: it stays, and is drawn as a box"


def test_no_box_is_drawn_for_a_letter_with_an_accent() -> None:
    font = ImageFont.load_default(20)
    box = bytes(font.getmask("\uffff"))
    letters = (chr(number) for number in range(0xC0, 0x180) if chr(number).isalpha())
    boxes = [one for one in letters if any(bytes(font.getmask(part)) == box for part in drawable(one))]
    assert len(boxes) < 8, boxes  # a few that hardly any language has


def test_cards_and_texts_show_them() -> None:
    with_accents, without = (
        drawn(np.zeros((1, 1)), [Column(name, "boolean", categories=("a", "b"))]) for name in ("Zürich", "Zurich")
    )
    np.testing.assert_array_equal(with_accents, without)
    np.testing.assert_array_equal(typeset(["Köln"]), typeset(["Koln"]))
