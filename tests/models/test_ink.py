"""Light on dark or dark on light, by the border; and inversion."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.depth import Note
from models.ink import CONTRADICTS, blank_note, contradicts, has_light_border, in_ink, inverted
from models.preprocess import Preprocessing, preprocess

DIGIT = np.zeros((1, 8, 8), np.uint8)
DIGIT[:, 0:8, 3:5] = 255  # it touches two sides


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_the_median_of_the_border_decides(kind: Any) -> None:
    x = DIGIT if kind == np.uint8 else DIGIT.astype(np.float32) / np.float32(255)
    assert not has_light_border(x)
    assert has_light_border(inverted(x))
    assert not has_light_border(np.repeat(x, 3, 0))
    assert contradicts(x, "dark")
    assert contradicts(inverted(x), "light")
    assert not contradicts(x, "light")
    np.testing.assert_array_equal(in_ink(inverted(x), "light", "auto"), x)
    np.testing.assert_array_equal(in_ink(x, "light", "auto"), x)
    np.testing.assert_array_equal(in_ink(x, "light", "yes"), inverted(x))
    assert in_ink(x, "dark", "no") is x


def test_one_pixel_is_a_border() -> None:
    assert has_light_border(np.full((1, 1, 1), 255, np.uint8))
    assert not has_light_border(np.full((3, 1, 5), 9, np.uint8))


@pytest.mark.parametrize("size", [(8, 8), (4, 8), (300, 600)])
@pytest.mark.parametrize("invert", ["yes", "auto"])
def test_padding_does_not_decide_and_is_not_inverted(size: tuple[int, int], invert: Any) -> None:
    image = Image.new("L", size, 255)
    image.paste(0, (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
    pixels = preprocess(image, Preprocessing(1, 8, 8, invert=invert))[0]
    assert (pixels[0, 0], pixels[0, 7]) == (0, 0)
    assert pixels.max() > 150  # the stroke, which was black


def test_what_padding_hides_is_noted() -> None:
    notes: list[Note] = []
    image = Image.new("L", (2, 8), 255)
    image.putpixel((0, 4), 0)
    preprocess(image, Preprocessing(1, 8, 8), notes)
    assert notes == [(CONTRADICTS, "")]


def test_blank_pictures() -> None:
    assert blank_note(DIGIT) is None
    assert blank_note(np.full((1, 2, 2), 7, np.uint8)) == ("blank", "all pixels are equal (7)")
    assert blank_note(np.array([[[1, 1]], [[2, 2]], [[3, 3]]], np.uint8), " here") == (
        "blank",
        "all pixels are equal (1, 2, 3) here",
    )
    assert blank_note(np.array([[[1, 1]], [[2, 2]], [[3, 4]]], np.uint8)) is None


@pytest.mark.parametrize("field", ["background", "ink", "invert"])
def test_words_that_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be one of"):
        Preprocessing(1, 8, 8, **{field: "maybe"})  # type: ignore[arg-type]
