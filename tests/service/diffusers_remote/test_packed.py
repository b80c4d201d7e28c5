"""Packed latents, compared with a slow one of numbers that are looked up one by one."""

import itertools

import numpy as np
import pytest

from service.diffusers_remote.packed import unpacked
from service.formats.errors import Unusable


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 32), (70, 47)])
def test_each_row_is_a_square_of_all_channels(height: int, width: int) -> None:
    rows, columns, channels = height // 16, width // 16, 3
    packed = np.random.default_rng(0).normal(size=(2, rows * columns, 4 * channels)).astype(np.float32)
    latents = unpacked(packed, height, width, 8)
    assert latents.shape == (2, channels, 2 * rows, 2 * columns)
    assert latents.flags.c_contiguous
    for n, c, y, x in itertools.product(*map(range, latents.shape)):
        assert latents[n, c, y, x] == packed[n, y // 2 * columns + x // 2, 4 * c + y % 2 * 2 + x % 2]


@pytest.mark.parametrize("shape", [(1, 15, 64), (1, 17, 64), (1, 16, 63), (1, 16, 1)])
def test_what_does_not_fit_the_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Unusable, match=r"packed latents for 64 x 64 pixels have the shape \(N, 16, 4 C\), .*, not \[1, "):
        unpacked(np.zeros(shape, np.float32), 64, 64, 8)


def test_a_picture_smaller_than_a_square_has_no_latents() -> None:
    with pytest.raises(Unusable):
        unpacked(np.zeros((1, 1, 64), np.float32), 15, 64, 8)
