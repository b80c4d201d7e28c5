"""The fits of nets that take any size: nothing is resampled, whatever the file is like."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.depth import Note
from models.placement import AnyFit
from models.preprocess import Preprocessing, WrongSize, preprocess


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def spec(height: int, width: int, fit: AnyFit) -> Preprocessing:
    return Preprocessing(3, height, width, fit)


def middle(pixels: NDArray[np.uint8], unit: int) -> NDArray[np.uint8]:
    height, width = (side - side % unit for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (9, 15), (15, 9), (23, 8), (701, 333), (300, 2001)])
def test_own_keeps_every_pixel_of_the_middle(size: tuple[int, int]) -> None:
    """Also of pictures that are converted in strips, and of those that are a little larger in one direction only."""
    pixels, notes = noise(*size), list[Note]()
    found = preprocess(Image.fromarray(pixels), spec(8, 8, "any_size"), notes)
    np.testing.assert_array_equal(found.transpose(1, 2, 0), middle(pixels, 8))
    assert [code for code, _ in notes] == ([] if found.shape[1:] == size else ["cut"])


def test_own_of_a_picture_on_its_side() -> None:
    pixels, out = noise(17, 40), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(pixels).save(out, "png", exif=exif)
    found = preprocess(Image.open(out), spec(8, 8, "any_size"))
    np.testing.assert_array_equal(found.transpose(1, 2, 0), middle(np.rot90(pixels, -1), 8))


def test_a_large_jpeg_is_decoded_whole() -> None:
    """Other fits decode a part of its numbers."""
    out = io.BytesIO()
    Image.fromarray(noise(1200, 1000)).save(out, "jpeg")
    found = preprocess(Image.open(out), spec(8, 8, "any_size"))
    np.testing.assert_array_equal(found.transpose(1, 2, 0), np.asarray(Image.open(out)))


def test_what_is_smaller_than_the_unit() -> None:
    with pytest.raises(WrongSize, match=r"7 x 40 pixels \(height x width\), and the model needs at least 8 x 8; enlarge it"):
        preprocess(Image.fromarray(noise(7, 40)), spec(8, 8, "any_size"))


def test_exact_takes_one_size() -> None:
    pixels = noise(8, 12)
    np.testing.assert_array_equal(preprocess(Image.fromarray(pixels), spec(8, 12, "exact")).transpose(1, 2, 0), pixels)
    for size in ((12, 8), (16, 24), (8, 11)):
        with pytest.raises(WrongSize, match=f"{size[0]} x {size[1]} pixels .* the model takes 8 x 12 only; resize it"):
            preprocess(Image.fromarray(noise(*size)), spec(8, 12, "exact"))
