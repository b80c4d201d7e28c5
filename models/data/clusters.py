"""Say which held-out items resemble each other, as the frames of one block or the pictures of one group do."""

import torch
from torch import Tensor

from models.data.items import Items
from models.readers.holding_out import HoldOut


def clusters(kind: HoldOut, held_out: Items, training: Items) -> Tensor:
    """Return a number for each held-out item, int64 (N,): that of its group, or of its block.

    A block has no training item inside. Each item is one of its own if items are held out at random.
    """
    if kind == "group" and held_out.groups is not None:
        return held_out.groups
    if kind == "blocks" and held_out.place is not None and training.place is not None:
        return torch.searchsorted(training.place.sort().values, held_out.place)
    return torch.arange(len(held_out))
