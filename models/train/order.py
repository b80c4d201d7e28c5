"""The order of the rows in an epoch: random, and for sequences in batches of rows that are about as long.

It is a function of seed and epoch, so that a run can be resumed from a step. Knows nothing of models.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# So many batches are sorted by length together: enough that rows of a batch are alike, few enough that batches stay random.
POOL = 32


def batches(count: int, batch_size: int, seed: int, epoch: int, lengths: Tensor | None = None) -> Iterator[Tensor]:
    """Yield the rows of each batch of an epoch, (batch_size,); the rest that fills no batch is left out.

    `lengths`, (N,): each pool of batches is sorted by them, and the order of all batches is random.
    """
    generator = torch.Generator().manual_seed(seed + epoch + 1)
    order = torch.randperm(count, generator=generator)[: count // batch_size * batch_size]
    if lengths is None:
        yield from order.split(batch_size)
        return
    found = []
    for pool in order.split(POOL * batch_size):
        found += pool[lengths[pool].argsort(stable=True)].split(batch_size)
    for i in torch.randperm(len(found), generator=generator).tolist():
        yield found[i]
