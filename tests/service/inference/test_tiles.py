"""Tiles cover everything, have one size, and come back as what they were cut from."""

import numpy as np
import pytest

from service.inference.kinds.tiles import tiling


@pytest.mark.parametrize(
    ("size", "tops", "lefts"),
    [
        ((8, 8), (0,), (0,)),
        ((9, 8), (0, 1), (0,)),
        ((14, 20), (0, 6), (0, 6, 12)),
        ((15, 3), (0, 3, 7), (0,)),
        ((1, 100), (0,), tuple(i * 92 // 16 for i in range(17))),
    ],
)
def test_places(size: tuple[int, int], tops: tuple[int, ...], lefts: tuple[int, ...]) -> None:
    found = tiling(size, 8, 2)
    assert (found.tops, found.lefts, found.tile) == (tops, lefts, (min(8, size[0]), min(8, size[1])))
    assert len(found) == len(tops) * len(lefts)


@pytest.mark.parametrize("size", [(8, 8), (9, 30), (31, 8), (23, 41), (5, 64)])
def test_what_is_cut_is_blended_to_the_same(size: tuple[int, int]) -> None:
    """At all places the weights add up to 1, so tiles that agree where they overlap give what they were cut from."""
    whole = np.random.default_rng(0).random((3, *size), np.float32)
    grid = tiling(size, 8, 2)
    tiles = grid.cut(whole)
    assert tiles.shape == (len(grid), 3, *grid.tile)
    np.testing.assert_allclose(grid.blend(tiles.transpose(0, 2, 3, 1)), whole.transpose(1, 2, 0), atol=1e-6)


def test_places_of_latents_are_pixels_wide() -> None:
    whole = np.random.default_rng(0).random((3, 10, 13), np.float32)
    grid = tiling((10, 13), 6, 2)
    large = grid.cut(whole).transpose(0, 2, 3, 1).repeat(4, 1).repeat(4, 2)
    np.testing.assert_allclose(grid.blend(large, 4), whole.transpose(1, 2, 0).repeat(4, 0).repeat(4, 1), atol=1e-6)


def test_a_seam_is_a_ramp() -> None:
    grid = tiling((1, 10), 6, 2)
    assert grid.lefts == (0, 4)
    values = np.zeros((2, 1, 6, 1), np.float32)
    values[1] = 1
    np.testing.assert_allclose(grid.blend(values).ravel(), [0, 0, 0, 0, 0.25, 0.75, 1, 1, 1, 1], atol=1e-6)
