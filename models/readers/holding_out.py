"""Choose the pictures that are held out for validation or test: at random, in blocks of neighbours, or by group.

Pictures of one video, patient or author resemble each other. If some of them are trained on and others are held out, the
held-out ones measure memory, and their numbers look too good. Knows nothing of pixels or files.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from models.readers.download import DataError
from models.readers.left_out import listed, plural

HoldOut = Literal["random", "blocks", "group"]
HOLD_OUT: tuple[str, ...] = get_args(HoldOut)
MOST_BLOCKS, FEWEST_BLOCKS = 10, 2
# Frames of a video resemble each other for about a second: in three videos, the difference of two frames grew until they were
# 20 to 30 apart. The gaps are as long where both sides of all blocks together are at most this share of the pictures.
APART, GAP_SHARE = 30, 0.2
# A warning says so if whole groups hold out more than so many times what is wanted, or less than its inverse.
FAR = 2
NO_GROUPS = (
    "give an array `groups` (a number or text for each picture) in the npz file, or put the pictures of each group into a "
    "folder of their own; or choose --validation-split random or blocks"
)


def hold_out_rows(
    count: int,
    wanted: int,
    kind: HoldOut,
    seed: int,
    place: Tensor | None = None,
    groups: Tensor | None = None,
    kept_groups: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return (rows to train on, held-out rows) of `count` pictures; about `wanted` are held out.

    `random` holds out any pictures. `blocks` holds out blocks of neighbours, one in each equal part of the source's order,
    which is that of `place` (count,); the gap on either side of each is neither trained on nor held out, see `block_sizes`.
    `group` holds out whole groups, `groups` (count,), that come near to what is wanted, and leaves `kept_groups` at least.
    Raises DataError.
    """
    noise = torch.Generator().manual_seed(seed)
    if kind == "random":
        order = torch.randperm(count, generator=noise)
        return order[wanted:], order[:wanted]
    if kind == "blocks":
        order = torch.arange(count) if place is None else place.argsort(stable=True)
        role = _blocks(count, wanted, noise, *block_sizes(count, wanted, place))
        return order[role == 0], order[role == 2]
    if groups is None:
        raise DataError(f"--validation-split group, but the data have no groups: {NO_GROUPS}")
    held_out = _groups(groups, wanted, noise, kept_groups)
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def block_sizes(count: int, wanted: int, place: Tensor | None = None) -> tuple[int, int]:
    """Return the number of blocks that hold out `wanted` of `count` pictures, and the gap on either side of each.

    There are 10 blocks, and fewer in short sources, two at least, so that there is room for gaps of 30 pictures. Gaps are
    shorter where even two blocks leave no room, and longer where half a block is. The room is that of the whole source, in
    which the pictures are at `place` (count,), so that the gaps of validation and test are alike.
    """
    if place is not None:
        count = max(count, min(2 * count, int(place.max()) + 1))
    number = min(MOST_BLOCKS, max(FEWEST_BLOCKS, int(GAP_SHARE * count / (2 * APART))), max(1, wanted))
    room = int(GAP_SHARE * count / (2 * number))
    return number, max(1, wanted // number // 2, min(APART, room))


def block_line(name: str, count: int, wanted: int, place: Tensor | None = None) -> str:
    """Return a line with the blocks and gaps of the held-out split `name`, and a warning if the gaps are short."""
    number, gap = block_sizes(count, wanted, place)
    away = f"{gap + 1} or more places from the nearest training picture"
    line = f"blocks: {name} has {plural(number, 'block')} of neighbours, {away}"
    if gap >= APART:
        return line
    return (
        f"warning: {line}; frames of a video resemble each other for about a second, {APART} places, so that its numbers may "
        "look too good; more frames make the gaps longer"
    )


def _blocks(count: int, wanted: int, noise: torch.Generator, number: int, gap: int) -> Tensor:
    """Return the role of each picture in order: 0 training, 1 neither, 2 held out."""
    role = torch.zeros(count, dtype=torch.int8)
    for i in range(number):
        first, end = count * i // number, count * (i + 1) // number
        size = min(wanted * (i + 1) // number - wanted * i // number, end - first)
        start = first + int(torch.randint(end - first - size + 1, (1,), generator=noise))
        around = role[max(0, start - gap) : start + size + gap]
        around[around == 0] = 1
        role[start : start + size] = 2
    return role


def _groups(groups: Tensor, wanted: int, noise: torch.Generator, kept: int) -> Tensor:
    """Return which pictures belong to the held-out groups, at least one; `kept` groups at least stay for training.

    Groups are taken in an order by chance, but for those that would be too many, and then perhaps the smallest of the rest.
    """
    names, sizes = groups.unique(return_counts=True)
    if len(names) < 2:
        raise DataError(f"--validation-split group, but there is only {plural(len(names), 'group')}: {NO_GROUPS}")
    order, most = torch.randperm(len(names), generator=noise).tolist(), max(1, len(names) - kept)
    taken, left = list[int](), max(1, wanted)
    for i in order:
        if len(taken) < most and sizes[i] <= left:
            taken.append(i)
            left -= int(sizes[i])
    rest = [i for i in order if i not in set(taken)]
    smallest = min(rest, key=lambda i: int(sizes[i]))  # the first of several, so that the seed chooses it
    if len(taken) < most and (not taken or abs(left - int(sizes[smallest])) < left):
        taken.append(smallest)
    return torch.isin(groups, names[taken])


def check_groups(names: Sequence[str], parts: Sequence[str]) -> None:
    """Raise DataError if there are fewer groups than parts of the data that need one each, such as training and test."""
    if len(names) < len(parts):
        raise DataError(
            f"--validation-split group needs at least {len(parts)} groups, one each for {', '.join(parts[:-1])} and "
            f"{parts[-1]}, but {'there is 1' if len(names) == 1 else f'there are {len(names)}'} ({listed(list(names))})"
        )


def share_lines(part: str, held_out: int, wanted: int, count: int) -> list[str]:
    """Return a warning if whole groups of `part` are far from the number of pictures that was wanted."""
    if wanted / FAR <= held_out <= wanted * FAR:
        return []
    return [
        f"warning: {part} has {held_out:,} of {plural(count, 'picture')} where {wanted:,} {'was' if wanted == 1 else 'were'} "
        "wanted, because whole groups are held out"
    ]
