"""Transparent pictures: blended with a background, or drawn by their alpha where that alone has the drawing."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.depth import Note
from models.preprocess import STRIP_PIXELS, Pixels, Preprocessing, preprocess
from models.transparency import lowest_alpha


def drawing(color: tuple[int, ...], alphas: list[int]) -> Image.Image:
    image = Image.new("RGBA", (len(alphas), 1))
    image.putdata([(*color, alpha) for alpha in alphas])
    return image


def pixels(image: Image.Image, channels: int = 1, **options: Any) -> Pixels:
    found = preprocess(image, Preprocessing(channels, image.height, image.width, **options))
    return found[:, 0] if channels == 1 else found


ALPHAS = [0, 51, 255]


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (100, 100, 100), (200, 30, 30)])
def test_the_alpha_of_one_color_is_the_ink(color: tuple[int, ...]) -> None:
    assert pixels(drawing(color, ALPHAS)).tolist() == [ALPHAS]
    assert pixels(drawing(color, ALPHAS), ink="dark").tolist() == [[255, 204, 0]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa", "P", "PA"])
def test_alpha_can_be_dropped(mode: str) -> None:
    image = drawing((200, 100, 30), [9, 51, 255])
    converted = image.convert("LA").convert(mode) if mode in ("La", "PA") else image.convert(mode)
    wanted = image.convert("LA" if mode in ("LA", "La", "PA") else "RGBA").convert("RGB")
    found = pixels(converted, 3, background="drop").transpose(1, 2, 0)
    np.testing.assert_allclose(found.astype(int), np.asarray(wanted), atol=15 if mode in ("P", "La", "RGBa") else 0)


def test_several_colors_are_blended_with_the_background_of_the_ink() -> None:
    image = drawing((0, 0, 0), ALPHAS)
    image.putpixel((2, 0), (200, 200, 200, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    assert pixels(image).tolist() == [[0, 0, 200]]
    np.testing.assert_allclose(pixels(image, ink="dark").astype(int), [[255, 127, 200]], atol=1)


@pytest.mark.parametrize(("background", "expected"), [("black", [0, 20, 100]), ("white", [255, 224, 100])])
def test_a_background_that_is_asked_for(background: str, expected: list[int]) -> None:
    np.testing.assert_allclose(pixels(drawing((100, 100, 100), ALPHAS), background=background).astype(int), [expected], atol=1)


def test_equal_alpha_is_no_drawing() -> None:
    assert pixels(drawing((100, 100, 100), [255, 255])).tolist() == [[100, 100]]
    assert pixels(drawing((0, 0, 0), [0, 0])).tolist() == [[0, 0]]


def test_models_of_colors_keep_a_color_unless_it_vanishes() -> None:
    assert pixels(drawing((200, 30, 30), [0, 255]), 3)[:, 0, 1].tolist() == [200, 30, 30]
    assert pixels(drawing((0, 0, 0), [0, 255]), 3)[:, 0].tolist() == [[0, 255]] * 3
    assert pixels(drawing((0, 0, 0), [0, 255]), 3, ink="dark")[:, 0].tolist() == [[255, 0]] * 3
    assert pixels(drawing((255, 255, 255), [0, 255]), 3, ink="dark")[:, 0].tolist() == [[255, 0]] * 3


def test_large_pictures_are_the_same_as_small_ones() -> None:
    alphas = np.zeros((300, 300), np.uint8)
    assert alphas.size > STRIP_PIXELS
    alphas[40:60, 50:250] = 255
    image = Image.merge("LA", [Image.new("L", (300, 300), 0), Image.fromarray(alphas)])
    np.testing.assert_array_equal(preprocess(image, Preprocessing(1, 300, 300))[0], alphas)


@pytest.mark.parametrize("mode", ["La", "RGBa"])
@pytest.mark.parametrize("background", ["auto", "white", "black"])
def test_premultiplied_alpha(mode: str, background: str) -> None:
    straight = Image.merge("LA", [Image.new("L", (2, 1), 0), Image.fromarray(np.array([[0, 255]], np.uint8))])
    image = straight.convert("RGBA" if mode == "RGBa" else "LA").convert(mode)
    expected = {"auto": [0, 255], "white": [255, 0], "black": [0, 0]}[background]
    assert pixels(image, background=background).tolist() == [expected]


@pytest.mark.parametrize(("ink", "bars"), [("light", 0), ("dark", 255)])
def test_bars_are_the_background_of_the_ink(ink: Any, bars: int) -> None:
    found = preprocess(Image.new("L", (4, 8), 99), Preprocessing(1, 8, 8, ink=ink))[0]
    assert found[0].tolist() == [bars, bars, 99, 99, 99, 99, bars, bars]


@pytest.mark.parametrize(("background", "value"), [("black", 0), ("white", 255)])
def test_a_blank_result_is_noted_with_what_made_it(background: Any, value: int) -> None:
    notes: list[Note] = []
    preprocess(drawing((value,) * 3, ALPHAS), Preprocessing(1, 1, 3, background=background), notes)
    after = f"after blending the transparent picture with {background}; try another background"
    assert notes == [("blank", f"all pixels are equal ({value}) {after}")]


def test_the_lowest_alpha() -> None:
    assert lowest_alpha(drawing((1, 2, 3), [7, 200])) == 7
    assert lowest_alpha(Image.new("RGBA", (2, 2), (0, 0, 0, 255))) == 255
