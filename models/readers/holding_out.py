"""Choose the pictures that are held out for validation or test: at random, in blocks of neighbours, or by group.

Pictures of one video, patient or author resemble each other. If some of them are trained on and others are held out, the
held-out ones measure memory, and their numbers look too good. Knows nothing of pixels or files.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from models.readers.download import DataError
from models.readers.left_out import plural

HoldOut = Literal["random", "blocks", "group"]
HOLD_OUT: tuple[str, ...] = get_args(HoldOut)
BLOCKS = 10
NO_GROUPS = (
    "give an array `groups` (a number or text for each picture) in the npz file, or put the pictures of each group into a "
    "folder of their own; or choose --validation-split random or blocks"
)


def hold_out_rows(
    count: int, wanted: int, kind: HoldOut, seed: int, place: Tensor | None = None, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return (rows to train on, held-out rows) of `count` pictures; about `wanted` are held out.

    `random` holds out any pictures. `blocks` holds out up to 10 blocks of neighbours, one in each tenth of the source's
    order, which is that of `place` (count,); half a block on either side of each is neither trained on nor held out. `group`
    holds out whole groups, `groups` (count,), until there are enough. Raises DataError.
    """
    noise = torch.Generator().manual_seed(seed)
    if kind == "random":
        order = torch.randperm(count, generator=noise)
        return order[wanted:], order[:wanted]
    if kind == "blocks":
        order = torch.arange(count) if place is None else place.argsort(stable=True)
        role = _blocks(count, wanted, noise)
        return order[role == 0], order[role == 2]
    if groups is None:
        raise DataError(f"--validation-split group, but the data have no groups: {NO_GROUPS}")
    held_out = _groups(groups, wanted, noise)
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def _blocks(count: int, wanted: int, noise: torch.Generator) -> Tensor:
    """Return the role of each picture in order: 0 training, 1 neither, 2 held out."""
    role = torch.zeros(count, dtype=torch.int8)
    number = max(1, min(BLOCKS, wanted))
    for i in range(number):
        first, end = count * i // number, count * (i + 1) // number
        size = min(wanted * (i + 1) // number - wanted * i // number, end - first)
        start = first + int(torch.randint(end - first - size + 1, (1,), generator=noise))
        gap = max(1, size // 2)
        around = role[max(0, start - gap) : start + size + gap]
        around[around == 0] = 1
        role[start : start + size] = 2
    return role


def _groups(groups: Tensor, wanted: int, noise: torch.Generator) -> Tensor:
    """Return which pictures belong to the held-out groups; one group at least stays for training."""
    names, sizes = groups.unique(return_counts=True)
    if len(names) < 2:
        raise DataError(f"--validation-split group, but there is only {plural(len(names), 'group')}: {NO_GROUPS}")
    order = torch.randperm(len(names), generator=noise)
    before = sizes[order].cumsum(0) - sizes[order]  # pictures in the groups that come earlier
    taken = before < max(1, wanted)
    taken[-1] = False
    return torch.isin(groups, names[order[taken]])
