"""Find held-out items that training items nearly repeat, or that resemble a neighbour in the source most.

Both make the numbers of the held-out items look too good. The kind says how items are compared; where it does not, only equal
rows count. Knows nothing of models.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.data.items import Items
from models.kinds import KINDS
from models.kinds.kind import Kind
from models.readers.left_out import of_all

# At most so many items are compared; more would only take longer.
MOST_HELD_OUT = 500
MOST_TRAINING = 200_000
BLOCK = 1000
# A near-duplicate differs by less than this share of the RMS difference between pictures. At random, 0 % of MNIST, 0.2 % of
# Fashion-MNIST and 3 % of the sprites are near-duplicates; of the frames of a slow video, 44 %.
NEAR = 0.05
# Neighbours are at most so many places away in the source.
PLACES = 3
# From these shares on, a warning says what to do; the second is that of neighbours, in multiples of chance.
MANY, MUCH_MORE = 0.1, 5.0
# In fewer pictures, these shares say nothing.
LEAST_HELD_OUT = 10


def compare(training: Items, held_out: Items, rows: Tensor | None = None, kind: Kind = KINDS["picture"]) -> dict[str, Any]:
    """Count, among up to 500 held-out items, near-duplicates, and items that resemble a neighbour in the source most.

    `rows` are those of `training` that are trained on (None: all); they are not copied.

    `near` have a near-duplicate in training, or an equal row (`exact`) if the kind does not compare otherwise; then nothing is
    said of neighbours. `adjacent` have their nearest training item at most 3 places away in the
    source, where `by_chance` would; in videos, most have. `same_group` are of a group that is trained on, too.
    """
    step = -(-len(held_out) // MOST_HELD_OUT)
    some = held_out[::step]
    rows = torch.arange(len(training)) if rows is None else rows
    found: dict[str, Any] = {"compared": len(some), "training": min(len(rows), MOST_TRAINING)}
    if not kind.comparable:
        known = set(_keys(training.x[rows[:MOST_TRAINING]]))
        found |= {"near": sum(key in known for key in _keys(some.x)), "exact": True}
    else:
        index, distance, typical = _nearest(kind.compared(some.x), training.x, rows[:MOST_TRAINING], kind)
        found["near"] = int((distance <= NEAR * typical).sum())
    if kind.comparable and some.place is not None and training.place is not None:
        away = (training.place[index] - some.place).abs()
        found["adjacent"] = int((away <= PLACES).sum())
        found["adjacent_by_chance"] = len(some) * min(1.0, 2 * PLACES / max(1, len(rows)))
    if some.groups is not None and training.groups is not None:
        found["same_group"] = int(torch.isin(some.groups, training.groups[rows]).sum())
    return found


def line(found: Mapping[str, Any], name: str, advise: bool = True, own: bool = True, kind: Kind = KINDS["picture"]) -> str:
    """Return a line about the result of `compare` for the held-out split `name`. `advise` names the flag of training.

    `own`: the user can give the items groups.
    """
    total, near = found["compared"], found["near"]
    of = f"{name} {kind.noun}"
    repeated = "equal to one in training" if found.get("exact") else "nearly repeated in training"
    parts = [f"{of_all(near, total, of)} {repeated}"]
    adjacent, chance = found.get("adjacent", 0), found.get("adjacent_by_chance", 0.0)
    is_sequence = adjacent >= MANY * total and adjacent > MUCH_MORE * chance
    if is_sequence:
        parts.append(f"{adjacent:,} resemble a picture most that lies at most {PLACES} places away, as in a video")
    if found.get("same_group"):
        parts.append(f"{found['same_group']:,} are of a group that is trained on, too")
    bad = total >= LEAST_HELD_OUT and (is_sequence or near >= MANY * total)
    advise = advise and (own or is_sequence)
    way = "--validation-split blocks" if is_sequence else "an array `groups`, or sub-folders, and --validation-split group"
    way = "--validation-split group" if found.get("same_group") else way
    use = "remove the copies" if found.get("exact") else f"use {way}"
    what = f"; so its numbers look too good{f': {use}' if advise else ''}" if bad else ""
    return f"{'warning: ' if bad else ''}near-duplicates: {'; '.join(parts)}{what}"


def _keys(x: Tensor) -> list[bytes]:
    """Return the bytes of each row, so that missing numbers (NaN) are equal, too."""
    return [row.tobytes() for row in x.cpu().contiguous().numpy()]


def _nearest(some: Tensor, x: Tensor, rows: Tensor, kind: Kind) -> tuple[Tensor, Tensor, float]:
    """Return row and distance of the nearest of these rows of `x` for each of `some`, and the RMS distance over all pairs."""
    best, index, total = torch.full((len(some),), torch.inf), torch.zeros(len(some), dtype=torch.long), 0.0
    for block in rows.split(BLOCK):
        distances = torch.cdist(some, kind.compared(x[block]))  # (S, b)
        total += float(distances.square().sum(dtype=torch.float64))
        nearest, column = distances.min(1)
        index = torch.where(nearest < best, block[column], index)
        best = torch.minimum(best, nearest)
    return index, best, (total / (len(some) * max(1, len(rows)))) ** 0.5
