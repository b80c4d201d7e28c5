"""Say which held-out pictures resemble each other, as the frames of one block or the pictures of one group do."""

import torch
from torch import Tensor

from models.data import Pictures
from models.readers.holding_out import HoldOut


def clusters(kind: HoldOut, held_out: Pictures, training: Pictures) -> Tensor:
    """Return a number for each held-out picture, int64 (N,): that of its group, or of its block.

    A block has no training picture inside. Each picture is one of its own if pictures are held out at random.
    """
    if kind == "group" and held_out.groups is not None:
        return held_out.groups
    if kind == "blocks" and held_out.place is not None and training.place is not None:
        return torch.searchsorted(training.place.sort().values, held_out.place)
    return torch.arange(len(held_out))
