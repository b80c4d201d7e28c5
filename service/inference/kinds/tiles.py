"""Cuts a large picture or latent into overlapping tiles of one size, and blends what a net makes of the tiles.

Pure functions of arrays. Knows nothing of nets, lanes or HTTP.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tiling:
    """Where the tiles of a grid (height, width) begin; all have the size `tile`, which is at most that of the grid."""

    tile: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def cut(self, whole: NDArray[Any]) -> NDArray[Any]:
        """Return the tiles of one item, (C, height, width) -> (tiles, C, *tile), row by row."""
        height, width = self.tile
        return np.stack([whole[:, top : top + height, left : left + width] for top in self.tops for left in self.lefts])

    def blend(self, tiles: Floats, scale: int = 1) -> Floats:
        """Return the item whose tiles are given, (tiles, h, w, C) -> (height, width, C).

        Where tiles overlap, the weight of each falls linearly towards its border. A cell of the grid is `scale` values wide
        in the tiles: 1, or the factor between latents and pictures. Sums are taken tile by tile in the same order.
        """
        height, width = (side * scale for side in self.tile)
        tops, lefts = ([start * scale for start in starts] for starts in (self.tops, self.lefts))
        whole = np.zeros((tops[-1] + height, lefts[-1] + width, tiles.shape[3]), np.float32)
        down, across = _weights(tops, height), _weights(lefts, width)
        i = 0
        for top, vertical in zip(tops, down, strict=True):
            for left, horizontal in zip(lefts, across, strict=True):
                weight = vertical[:, None, None] * horizontal[None, :, None]
                whole[top : top + height, left : left + width] += weight * tiles[i]
                i += 1
        return whole


def tiling(size: tuple[int, int], tile: int, overlap: int) -> Tiling:
    """Return as few tiles as cover a grid of a size (height, width), neighbours of which share at least `overlap` cells.

    They are spread evenly, so that all have one size. A side that is shorter than a tile is that of all tiles.
    """
    sides = min(size[0], tile), min(size[1], tile)
    return Tiling(sides, *(_starts(whole, side, overlap) for whole, side in zip(size, sides, strict=True)))


def _starts(whole: int, tile: int, overlap: int) -> tuple[int, ...]:
    if whole == tile:
        return (0,)
    count = 1 + -(-(whole - tile) // (tile - overlap))
    return tuple(i * (whole - tile) // (count - 1) for i in range(count))


def _weights(starts: list[int], length: int) -> list[Floats]:
    """Return the weight of each place of each tile along one side; at every place they add up to 1."""
    places = np.arange(length, dtype=np.float64)
    ramps = []
    for i, start in enumerate(starts):
        before = starts[i - 1] + length - start if i else 0  # places that are shared with the tile before
        after = start + length - starts[i + 1] if i + 1 < len(starts) else 0
        ramp = np.ones(length)
        if before:
            ramp = np.minimum(ramp, (places + 0.5) / before)
        if after:
            ramp = np.minimum(ramp, (length - places - 0.5) / after)
        ramps.append(ramp)
    total = np.zeros(starts[-1] + length)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + length] += ramp
    return [(ramp / total[start : start + length]).astype(np.float32) for start, ramp in zip(starts, ramps, strict=True)]
