"""P-values of held-out items, each by its ranks among the others, to compare them with those of strangers.

Among all held-out items, itself included, an item has one more that is at least as unusual than a stranger can have. With n
held-out items, strangers would then look more different than they are, by 1 / (2 (n + 1)) of the AUROC of one score, and by
more for several. Knows nothing of models.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.scores import Array

BLOCK = 1 << 22  # So many pairs of items are compared at a time.


def smallest(usual: Mapping[str, Array], names: Sequence[str]) -> Array:
    """Return the smallest p-value of each item among the named scores, from unsorted scores by name, (n,) each -> (n,)."""
    ranks = _ranks(usual, names)
    return np.asarray(ranks.min(0) / ranks.shape[1])


def p_values(usual: Mapping[str, Array], names: Sequence[str]) -> Array:
    """Return the overall p-value that each item would have if the calibration had been made of the others, (n,).

    See `Calibration.overall`: the smallest p-value is ranked among the smallest p-values of the others.
    """
    ranks = _ranks(usual, names)  # (K, n)
    own, count = ranks.min(0), ranks.shape[1]
    if len(names) == 1:
        return np.asarray(own / count)
    found, values = np.empty(count), np.stack([usual[name] for name in names])
    for first in range(0, count, step := max(1, BLOCK // count)):
        block = slice(first, first + step)
        # The ranks of the others without this item, which is at least as unusual as some of them.
        others = (ranks[:, None] - (values[:, block, None] >= values[:, None])).min(0)  # (step, n)
        # The item itself, whose rank is one too small here, counts as it should: p = (1 + the number of others) / n.
        found[block] = (others <= own[block, None]).sum(1)
    return np.asarray(found / count)


def _ranks(usual: Mapping[str, Array], names: Sequence[str]) -> NDArray[np.int64]:
    """Return how many items are at least as unusual as each, itself included, by each score: (K, n)."""
    return np.stack([len(usual[name]) - np.searchsorted(np.sort(usual[name]), usual[name], side="left") for name in names])
