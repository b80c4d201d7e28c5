"""Requests about each kind: a model, some items as JSON has them, and another item."""

from typing import Any, NamedTuple


class About(NamedTuple):
    """A kind: the name of its model, the keys of its data, and items, of which the first two are alike."""

    model: str
    many: str
    one: str
    items: list[Any]


ADELIE = {
    "species": "Adelie", "island": "Torgersen", "bill_length_mm": 39.1, "bill_depth_mm": 18.7, "flipper_length_mm": 181,
    "body_mass_g": 3750, "sex": "male", "year": 2007,
}  # fmt: skip
TRIANGLE = [[0, 0, 0], [50, 0, 0], [-25, 40, 0], [-25, -40, 1]]
SQUARE = [[0, 0, 0], [60, 0, 0], [0, 60, 0], [-60, 0, 0], [0, -60, 0], [30, 30, 1]]
KINDS = [
    About("penguins", "rows", "row", [ADELIE, {**ADELIE, "body_mass_g": 3700}, {"species": "Gentoo", "bill_length_mm": 50}]),
    About("strokes", "strokes", "sketch", [TRIANGLE, [*TRIANGLE[:3], [-24, -41, 1]], SQUARE, [[0, 0, 0], [9, 9, 1]]]),
    About("lines", "texts", "text", ["the digits", "the digit", "a", "of 28 by 28 bits"]),
]
BY_MODEL = {about.model: about for about in KINDS}
