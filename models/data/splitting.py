"""Divide items of any kind into splits: those of the source, and what is held out. Knows nothing of files or models."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.data.file_rows import rows_of_array
from models.data.items import Items, Splits
from models.kinds import kind_of
from models.readers import holding_out
from models.readers.copies import copy_lines
from models.readers.download import DataError
from models.readers.found import Found
from models.readers.holding_out import HoldOut, block_line, enough_groups, held_out_count, hold_out_rows, share_lines
from models.readers.layout import TEST, TRAIN, VALIDATION
from models.readers.left_out import plural

# How pictures are held out, for the lines about splits.
HOW: Mapping[HoldOut, str] = {"random": "", "blocks": ", in blocks of neighbours", "group": ", whole groups"}
WHOLE_CLASSES = (
    "warning: each group is a whole class, so the classes of validation and test are never trained on; put a folder per "
    "person (or other source) into each class, or give such groups as an array"
)


def split(found: Found, kind: HoldOut = "random", share: float | None = None) -> Splits:
    """Divide what was read into its splits, in place. Without a test split, one tenth of the training items is one.

    `kind` says how that tenth is chosen; see `models.readers.holding_out`. Blocks and groups for validation, a `share` of the
    items, are chosen together with it, so that both are alike.
    """
    of = kind_of(found.kind)
    names = found.splits or [TRAIN] * len(found.x)
    rows: dict[str, list[int]] = {
        part: [i for i, name in enumerate(names) if name == part] for part in (TRAIN, TEST, VALIDATION)
    }
    groups = None if found.groups is None else torch.from_numpy(found.groups.numbers)
    lines = list(found.summary)
    where = lines[0].partition(": ")[0] if lines else "the data set"
    if not rows[TRAIN]:
        there = " and ".join(f"a {part} split" for part, own in rows.items() if own)
        raise DataError(f"{where}: has only {there}, so there is nothing to train on; give its folder to use it anyway")
    if kind == "group" and groups is None and of.name != "picture":
        raise DataError(f"--validation-split group, but these {of.many} have no groups: choose random or blocks")
    if kind == "group":
        lines += _group_lines(found, rows)
    how, left = " (as the data set has them)", list[int]()
    if not rows[TEST]:
        count = len(rows[TRAIN])
        if count < 10:
            raise DataError(
                f"{where}: only {plural(count, of.noun, of.many)}: at least 10 are needed for training and test splits"
            )
        own = torch.tensor(rows[TRAIN])
        wanted, named = {TEST: count // 10}, None if groups is None else groups[own]
        if kind == "group":
            wanted[TEST] = enough_groups(named, count // 10)
        if kind == "random" or rows[VALIDATION]:
            kept, *held_out = hold_out_rows(count, wanted[TEST], kind, 0, None, named)
        else:
            wanted[VALIDATION] = held_out_count(count, share, kind, named)
            kept, *held_out = holding_out.hold_out_both(count, wanted[TEST], wanted[VALIDATION], kind, named)
        rows[TRAIN] = own[kept].tolist()
        rows |= {part: own[some].tolist() for part, some in zip(wanted, held_out, strict=True)}
        left = sorted(set(own.tolist()).difference(rows[TRAIN], *(rows[part] for part in wanted)))
        how = f" (a tenth of the training {of.many} is held out as test{HOW[kind]})"
        if kind != "random":
            how = f" (held out of {count:,} {of.many}: {' and '.join(wanted)}{HOW[kind]})"
        if kind == "group":
            lines += [of.worded(line) for part in wanted for line in share_lines(part, len(rows[part]), wanted[part], count)]
        if kind == "blocks":
            lines.append(of.worded(block_line(list(wanted), count, max(wanted.values()), of.comparable)))
        if VALIDATION in wanted and share is None:
            lines.append(f"validation: as many as for the test, drawn alike, {of.worded(holding_out.WHY_MANY)}")
    copies = copy_lines(found.x, rows, of.noun, found.keys)  # before the rows are moved
    order = torch.tensor(rows[TRAIN] + rows[TEST] + rows[VALIDATION] + left)
    whole = Items(
        rows_of_array(found.x),
        None if found.labels is None else torch.from_numpy(found.labels),
        {name: torch.from_numpy(values) for name, values in found.factors.items()},
        torch.arange(len(found.x)),
        groups,
    ).permute(order)
    first, second = len(rows[TRAIN]), len(rows[TRAIN]) + len(rows[TEST])
    third = second + len(rows[VALIDATION])
    counts = [f"{part} {len(own):,}" for part, own in rows.items() if own]
    counts += [f"left out beside the blocks {len(left):,}"] if left else []
    lines += copies
    lines.insert(1, f"splits: {', '.join(counts)}{how}")
    validation = whole[second:third] if rows[VALIDATION] else None
    return Splits(whole[:first], whole[first:second], validation, found.preprocessing, lines, found.classes, found.kind)


def _group_lines(found: Found, rows: Mapping[str, Sequence[int]]) -> list[str]:
    """Return a warning if the groups to be held out are whole classes. Raises DataError if there are too few of them."""
    missing = [part for part in (VALIDATION, TEST) if not rows[part]]
    if found.groups is None or not missing:
        return []
    own = found.groups.numbers[rows[TRAIN]]
    holding_out.check_groups([found.groups.names[i] for i in np.unique(own)], ["training", *missing])
    if found.labels is None:
        return []
    pairs = set(zip(own.tolist(), (labels := found.labels[rows[TRAIN]]).tolist(), strict=True))
    return [WHOLE_CLASSES] if len(pairs) == len(np.unique(own)) == len(np.unique(labels)) else []


def rows_of(items: Items, share: float | None, seed: int, kind: HoldOut = "random") -> tuple[Tensor, Tensor]:
    """Return the rows to train on, and those that are held out: the validation share, at least one item.

    The seed chooses them as it does in training; `kind`: see `models.readers.holding_out`. Raises DataError.
    """
    wanted = held_out_count(len(items), share, kind, items.groups)
    return hold_out_rows(len(items), wanted, kind, seed, items.place, items.groups)


def hold_out(
    items: Items, share: float | None, seed: int, in_place: bool = False, kind: HoldOut = "random"
) -> tuple[Items, Items]:
    """Return (training, validation), the items of `rows_of`.

    `in_place` sorts the items themselves, which the caller then no longer has, instead of copying them.
    """
    training, held_out = rows_of(items, share, seed, kind)
    if items.place is None:
        items = replace(items, place=torch.arange(len(items)))
    if not in_place:
        return items[training], items[held_out]
    left = torch.ones(len(items), dtype=torch.bool)
    left[torch.cat([training, held_out])] = False
    whole = items.permute(torch.cat([held_out, training, left.nonzero().flatten()]))
    return whole[len(held_out) : len(held_out) + len(training)], whole[: len(held_out)]
