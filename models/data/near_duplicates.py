"""Find held-out pictures that training pictures nearly repeat, or that resemble a neighbour in the source most.

Both make the numbers of the held-out pictures look too good. Knows nothing of models.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from models.data import Pictures
from models.readers.left_out import of_all

# Pictures are compared at this size, at most so many of them; more would only take longer.
SIDE = 16
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


def compare(training: Pictures, held_out: Pictures, rows: Tensor | None = None) -> dict[str, Any]:
    """Count, among up to 500 held-out pictures, near-duplicates, and pictures that resemble a neighbour in the source most.

    `rows` are those of `training` that are trained on (None: all); they are not copied.

    `near` have a near-duplicate in training. `adjacent` have their nearest training picture at most 3 places away in the
    source, where `by_chance` would; in videos, most have. `same_group` are of a group that is trained on, too.
    """
    step = -(-len(held_out) // MOST_HELD_OUT)
    some = held_out[::step]
    rows = torch.arange(len(training)) if rows is None else rows
    index, distance, typical = _nearest(_small(some.x), training.x, rows[:MOST_TRAINING])
    found: dict[str, Any] = {
        "compared": len(some),
        "training": min(len(rows), MOST_TRAINING),
        "near": int((distance <= NEAR * typical).sum()),
    }
    if some.place is not None and training.place is not None:
        away = (training.place[index] - some.place).abs()
        found["adjacent"] = int((away <= PLACES).sum())
        found["adjacent_by_chance"] = len(some) * min(1.0, 2 * PLACES / max(1, len(rows)))
    if some.groups is not None and training.groups is not None:
        found["same_group"] = int(torch.isin(some.groups, training.groups[rows]).sum())
    return found


def line(found: Mapping[str, Any], name: str, advise: bool = True, own: bool = True) -> str:
    """Return a line about the result of `compare` for the held-out split `name`. `advise` names the flag of training.

    `own`: the user can give the pictures groups.
    """
    total, near = found["compared"], found["near"]
    of = f"{name} picture"
    parts = [f"{of_all(near, total, of)} nearly repeated in training"]
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
    what = f"; so its numbers look too good{f': use {way}' if advise else ''}" if bad else ""
    return f"{'warning: ' if bad else ''}near-duplicates: {'; '.join(parts)}{what}"


def _small(x: Tensor) -> Tensor:
    """Reduce pictures to at most 16 x 16 by averaging: uint8 (N, C, H, W) -> (N, F) in [0, 1]."""
    size = (min(SIDE, x.shape[2]), min(SIDE, x.shape[3]))
    return torch.cat([adaptive_avg_pool2d(block.float() / 255, size).flatten(1) for block in x.split(BLOCK)])


def _nearest(some: Tensor, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return row and distance of the nearest of these rows of `x` for each of `some`, and the RMS distance over all pairs."""
    best, index, total = torch.full((len(some),), torch.inf), torch.zeros(len(some), dtype=torch.long), 0.0
    for block in rows.split(BLOCK):
        distances = torch.cdist(some, _small(x[block]))  # (S, b)
        total += float(distances.square().sum(dtype=torch.float64))
        nearest, column = distances.min(1)
        index = torch.where(nearest < best, block[column], index)
        best = torch.minimum(best, nearest)
    return index, best, (total / (len(some) * max(1, len(rows)))) ** 0.5
