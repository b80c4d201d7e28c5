"""Tiles side by side."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.mosaic import grid, tile, to_bytes, to_image, write_png

# five pictures of 2 x 3 pixels, each of one grey
PICTURES = np.arange(1, 6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)


def test_tiles_are_filled_row_by_row_on_black() -> None:
    canvas = tile(PICTURES, columns=3, gap=1)
    assert canvas.shape == (2 * 2 + 1, 3 * 3 + 2, 1)
    expected = np.zeros((5, 11), np.uint8)
    for i, (y, x) in enumerate([(0, 0), (0, 4), (0, 8), (3, 0), (3, 4)]):
        expected[y : y + 2, x : x + 3] = i + 1
    np.testing.assert_array_equal(canvas[..., 0], expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_tile_is_the_picture(channels: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (1, 4, 5, channels), np.uint8)
    np.testing.assert_array_equal(tile(pictures, 1), pictures[0])


def test_to_bytes_rounds_and_stays_in_range() -> None:
    x = torch.tensor([-0.5, 0, 0.4 / 255, 0.6 / 255, 0.5, 1, 7], requires_grad=True).view(1, 1, 1, 7)
    assert to_bytes(x)[0, 0, :, 0].tolist() == [0, 0, 0, 1, 128, 255, 255]


def test_to_bytes_puts_channels_last_and_keeps_every_level() -> None:
    levels = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    np.testing.assert_array_equal(to_bytes(levels / 255), levels.permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("count", "asked", "columns", "rows"), [(1, None, 1, 1), (5, None, 3, 2), (9, None, 3, 3), (5, 2, 2, 3)]
)
def test_grid_is_as_square_as_it_gets(count: int, asked: int | None, columns: int, rows: int) -> None:
    assert grid(torch.rand(count, 1, 4, 6), asked).size == (columns * 8 - 2, rows * 6 - 2)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pictures_survive_a_png(channels: int, mode: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, channels), np.uint8)
    write_png(tmp_path / "a.png", to_image(pixels))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
