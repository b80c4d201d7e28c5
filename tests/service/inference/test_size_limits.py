"""Bounds of pictures: by pixels, by the places of latents, and by their numbers."""

import pytest

from models.spatial_latents import SpatialLatents, read_options
from service.engine.device import Device
from service.formats.errors import TooBig, Unusable
from service.inference.kinds.size_limits import SizeLimits


def of(channels: int, factor: int) -> SizeLimits:
    return SizeLimits(SpatialLatents(channels, factor, 1.0))


@pytest.mark.parametrize(
    ("factor", "largest_whole", "tile"),
    [(1, 128, 64), (2, 256, 64), (4, 512, 64), (8, 1024, 64), (16, 1024, 32), (128, 1024, 4)],
)
def test_attention_is_bounded_by_places(factor: int, largest_whole: int, tile: int) -> None:
    """Its time is in proportion to their square, which with few levels is far more than that of the pixels."""
    limits = of(4, factor)
    assert limits.is_whole(largest_whole, largest_whole)
    assert not limits.is_whole(largest_whole + factor, largest_whole)
    grid = limits.tiling(2048, 2048)
    assert grid.tile == (tile, tile)
    assert max(b - a for a, b in zip(grid.tops, grid.tops[1:], strict=False)) <= tile - tile // 4  # shared by neighbours


def test_latents_that_are_larger_than_pictures_count_for_more() -> None:
    for channels, factor, weight in ((4, 8, 1), (16, 8, 1), (16, 2, 1), (4, 1, 1), (5, 1, 2), (16, 1, 4), (1024, 1, 256)):
        limits = of(channels, factor)
        assert limits.weight == weight
        assert limits.picture == 2048 * 2048 // weight
        assert (limits.request, limits.waiting) == (4 * limits.picture, 8 * limits.picture)
    with pytest.raises(TooBig, match=r"1049600 pixels each \(1 of 1025 x 1024\), at most 1048576"):
        of(16, 1).check(1025, 1024, 1)
    of(16, 1).check(1024, 1024, 4)
    with pytest.raises(TooBig, match="at most 4194304 are allowed"):
        of(16, 1).check(1024, 1024, 5)
    with pytest.raises(Unusable, match="each side must be a multiple of 2"):
        of(4, 2).check(3, 4, 1)


def test_batches_have_few_places_too() -> None:
    gpu = Device("cuda")
    assert of(4, 1).of_queue(64, 64, gpu).max_batch == 16  # 64 by their pixels
    assert of(4, 1).of_queue(128, 128, gpu).max_batch == 1
    assert of(4, 8).of_queue(64, 64, gpu).max_batch == 64
    assert of(1024, 1).of_queue(16, 16, Device("cpu")).max_batch == 1


def test_a_norm_of_a_single_number_is_refused() -> None:
    options = {"block_out_channels": [8, 16], "norm_num_groups": 8}
    with pytest.raises(Unusable, match=r"pictures of 2 x 2 pixels .* too small for this model, whose latents have at least 2"):
        SizeLimits(read_options(options)).check(2, 2, 1)
    SizeLimits(read_options(options)).check(2, 4, 1)
    SizeLimits(read_options({**options, "norm_num_groups": 4})).check(2, 2, 1)
