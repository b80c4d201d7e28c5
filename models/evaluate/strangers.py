"""Make pictures that are strangers to a model out of its own, without downloads, and measure how well scores separate them.

Knows nothing of models or files.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.scores import Array


def strangers(x: Tensor, seed: int) -> dict[str, Tensor]:
    """Return pictures of each kind of stranger by name, as many as in x: uint8 (N, C, H, W) -> the same."""
    noise = torch.Generator().manual_seed(seed)
    count, channels, height, width = x.shape
    other = x[torch.randperm(count, generator=noise)]
    colours = torch.randint(0, 256, (count, channels, 1, 1), generator=noise, dtype=torch.uint8)
    orders = torch.rand(count, height * width, generator=noise).argsort(1)[:, None].expand(-1, channels, -1)
    patched = x.clone()
    patched[:, :, : height // 2] = other[:, :, : height // 2]
    found = {
        "inverted": 255 - x,
        "one colour": colours.expand(x.shape).contiguous(),
        "noise": torch.randint(0, 256, x.shape, generator=noise, dtype=torch.uint8),
        "pixels shuffled": x.flatten(2).gather(2, orders).view_as(x),
        "two mixed": ((x.short() + other.short() + 1) // 2).to(torch.uint8),
        "halves of two": patched,
    }
    if height == width:
        found["rotated by 90 degrees"] = x.rot90(1, (2, 3)).contiguous()
    return found


def auroc(usual: NDArray[np.floating], unusual: NDArray[np.floating]) -> float:
    """Return the probability that a stranger's score is larger than a usual picture's; equal ones count half.

    This is the area under the ROC curve, by the statistic of Mann and Whitney: (n,), (m,) -> from 0 to 1, 0.5 is chance.
    """
    known = np.sort(usual)
    ranks = np.searchsorted(known, unusual, "left") + np.searchsorted(known, unusual, "right")
    return float(ranks.mean()) / (2 * len(known))


def uniformity(p_values: Array) -> float:
    """Return the Kolmogorov-Smirnov distance of p-values from the uniform distribution on 0 to 1: (N,) -> from 0 to 1."""
    found, count = np.sort(p_values), len(p_values)
    steps = np.arange(count + 1) / count
    return float(max((steps[1:] - found).max(), (found - steps[:-1]).max()))
