"""Choose the pictures that are held out for validation or test: at random, in blocks of neighbours, or by group.

Pictures of one video, patient or author resemble each other. If some of them are trained on and others are held out, the
held-out ones measure memory, and their numbers look too good. Knows nothing of pixels or files.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from models.readers.download import DataError
from models.readers.left_out import listed, plural

HoldOut = Literal["random", "blocks", "group"]
HOLD_OUT: tuple[str, ...] = get_args(HoldOut)
# The default share for validation. Pictures of one block or group resemble each other and tell little more than one of them,
# so that a twentieth, often a single group or 4 frames, said little about new pictures: as much as the test has is better.
SHARES: Mapping[HoldOut, float] = {"random": 0.05, "blocks": 0.1, "group": 0.1}
WHY_MANY = "because pictures of one block or group tell little more than one of them (--validation SHARE chooses otherwise)"
MOST_BLOCKS, FEWEST_BLOCKS = 10, 5
# Frames of a video resemble each other for about a second: in three videos, the difference of two frames grew until they were
# 20 to 30 apart. The gaps are as long where both sides of all blocks together are at most this share of the pictures.
APART, GAP_SHARE = 30, 0.3
# Validation and test have so many groups each where a quarter of the groups are as many.
FEWEST_GROUPS, GROUP_SHARE = 5, 4
# A warning says so if whole groups hold out more than so many times what is wanted, or less than its inverse.
FAR = 2
NO_GROUPS = (
    "give an array `groups` (a number or text for each picture) in the npz file, or put the pictures of each group into a "
    "folder of their own; or choose --validation-split random or blocks"
)


def hold_out_rows(
    count: int, wanted: int, kind: HoldOut, seed: int, place: Tensor | None = None, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return (rows to train on, held-out rows) of `count` pictures; about `wanted` are held out.

    `random` holds out any pictures. `blocks` holds out blocks of neighbours, one in each equal part of the source's order,
    which is that of `place` (count,); the gap on either side of each is neither trained on nor held out, see `block_sizes`.
    `group` holds out whole groups, `groups` (count,), that come near to what is wanted. Raises DataError.
    """
    noise = torch.Generator().manual_seed(seed)
    if kind == "random":
        order = torch.randperm(count, generator=noise)
        return order[wanted:], order[:wanted]
    if kind == "blocks":
        order = torch.arange(count) if place is None else place.argsort(stable=True)
        role = _blocks(count, [wanted], noise)
        return order[role == 0], order[role == 2]
    held_out = _groups(_known(groups), wanted, noise)
    return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()


def hold_out_both(
    count: int, test: int, validation: int, kind: HoldOut, groups: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows for (training, test, validation) of `count` pictures, where `kind` is blocks or group.

    Both parts are drawn alike, so that one says what the other will. Each equal part of the source has one block of both, in
    which they take turns, twice each, so that a new scene or a trend favours neither, and both are as far from training. No
    gap is between the two, because no weights are trained on either. Their groups are neighbours in the order of the groups,
    where they can be. Raises DataError.
    """
    noise = torch.Generator().manual_seed(0)
    if kind == "blocks":
        role = _blocks(count, [test, validation], noise)
    else:
        groups, role = _known(groups), torch.zeros(count, dtype=torch.int8)
        role[_groups(groups, test, noise, kept=2)] = 2
        left = (role == 0).nonzero().flatten()
        role[left[_groups(groups[left], validation, noise, near=groups[role == 2].unique())]] = 3
    training, first, second = ((role == part).nonzero().flatten() for part in (0, 2, 3))
    return training, first, second


def block_sizes(count: int, wanted: int) -> tuple[int, int]:
    """Return the number of blocks that hold out `wanted` of `count` pictures, and the gap on either side of each.

    There are 10 blocks, and fewer in short sources, 5 at least, so that there is room for gaps of 30 pictures. Gaps are
    shorter where even 5 blocks leave no room, and longer where half a block is.
    """
    number = min(MOST_BLOCKS, max(FEWEST_BLOCKS, int(GAP_SHARE * count / (2 * APART))), max(1, wanted))
    room = int(GAP_SHARE * count / (2 * number))
    return number, max(1, wanted // number // 2, min(APART, room))


def block_line(names: Sequence[str], count: int, wanted: int, frames: bool = True) -> str:
    """Return a line with the blocks and gaps of the held-out splits `names`, and a warning if the gaps are short.

    `wanted` is the number of pictures of the largest split; `frames`: they may be those of a video.
    """
    number, gap = block_sizes(count, wanted)
    have = f"{names[0]} has" if len(names) == 1 else f"{' and '.join(names)} share"
    away = f"{gap + 1} or more places from the nearest training picture"
    line = f"blocks: {have} {plural(number, 'block')} of neighbours{' in turns' if len(names) > 1 else ''}, {away}"
    if gap >= APART:
        return line
    if not frames:
        return f"warning: {line}; if neighbours resemble each other over more places, these numbers look too good"
    return (
        f"warning: {line}; frames of a video resemble each other for about a second, {APART} places, so that these numbers "
        "may look too good; more frames make the gaps longer"
    )


def _blocks(count: int, wanted: Sequence[int], noise: torch.Generator) -> Tensor:
    """Return the role of each picture in order: 0 training, 1 neither, 2 and 3 held out, `wanted` of each."""
    number, gap = block_sizes(count, max(wanted))
    role = torch.zeros(count, dtype=torch.int8)
    for i in range(number):
        first, end = count * i // number, count * (i + 1) // number
        parts = [(part, all_of * (i + 1) // number - all_of * i // number) for part, all_of in enumerate(wanted, 2)]
        size = sum(some for _, some in parts)
        turns = parts if i % 2 or len(parts) == 1 else parts[::-1]
        start = first + int(torch.randint(max(0, end - first - size) + 1, (1,), generator=noise))
        around = role[max(0, start - gap) : start + size + gap]
        around[around == 0] = 1
        for part, some in [*((part, some // 2) for part, some in turns), *((part, some - some // 2) for part, some in turns)]:
            role[start : start + some] = part
            start += some
    return role


def held_out_count(count: int, share: float | None, kind: HoldOut, groups: Tensor | None) -> int:
    """Return how many of `count` pictures are wanted for validation: the share, at least one. Raises DataError.

    Without a share it is the default of `kind`, and enough for several groups.
    """
    wanted = max(1, round(count * (SHARES[kind] if share is None else share)))
    return enough_groups(groups, wanted) if kind == "group" and share is None else wanted


def enough_groups(groups: Tensor | None, wanted: int) -> int:
    """Return how many pictures to hold out: `wanted`, or more, so that they are of about FEWEST_GROUPS groups.

    Where there are few groups, they are of a quarter of them. Raises DataError.
    """
    sizes = _known(groups).unique(return_counts=True)[1]
    return max(wanted, min(FEWEST_GROUPS, len(sizes) // GROUP_SHARE) * int(sizes.median()))


def _groups(groups: Tensor, wanted: int, noise: torch.Generator, kept: int = 1, near: Tensor | None = None) -> Tensor:
    """Return which pictures belong to the held-out groups, at least one; `kept` groups at least stay for training.

    Groups are taken in an order by chance, those with the numbers next to `near` first, but for those that would be too many,
    and then perhaps the smallest of the rest.
    """
    names, sizes = groups.unique(return_counts=True)
    if len(names) < 2:
        raise DataError(f"--validation-split group, but there is only {plural(len(names), 'group')}: {NO_GROUPS}")
    chance = torch.randperm(len(names), generator=noise)
    if near is not None:
        chance = chance[(names[chance][:, None] - near).abs().amin(1).argsort(stable=True)]
    order, most = chance.tolist(), max(1, len(names) - kept)
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


def _known(groups: Tensor | None) -> Tensor:
    if groups is None:
        raise DataError(f"--validation-split group, but the data have no groups: {NO_GROUPS}")
    return groups


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
