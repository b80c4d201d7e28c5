"""Sizes of latents with a shape."""

import pytest

from models.spatial_latents import SpatialLatents


@pytest.mark.parametrize(
    ("channels", "factor", "stated", "own"),
    [
        (4, 8, (64, 64), (64, 64)),
        (16, 8, (512, 512), (512, 512)),
        (4, 8, (768, 768), (384, 384)),
        (16, 8, (1024, 1024), (512, 512)),
        (4, 8, (2048, 1024), (512, 256)),
        (4, 8, (1000, 1000), (496, 496)),
        (4, 8, (8, 65_528), (8, 32_760)),
        (4, 4, (512, 512), (256, 256)),  # 128 x 128 places are too many for attention at every start
        (4, 1, (256, 256), (64, 64)),
        (1024, 1, (64, 64), (32, 32)),  # a million numbers
        (4, 128, (65_408, 128), (2_000 // 128 * 128, 128)),
    ],
)
def test_an_own_size_is_small_enough_to_be_computed_at_the_start(
    channels: int, factor: int, stated: tuple[int, int], own: tuple[int, int]
) -> None:
    assert SpatialLatents(channels, factor, 1.0).own_size(*stated) == own


def test_sizes_that_do_not_fit_stay_as_they_are() -> None:
    assert SpatialLatents(4, 8, 1.0).own_size(4, 1 << 20) == (4, 1 << 20)
