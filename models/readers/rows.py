"""Move rows of a large array in place, so that no second copy of it is made. Knows nothing of pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def permute_rows(rows: NDArray[Any], order: Sequence[int]) -> None:
    """Change `rows` into `rows[order]`; `order` must have every index once. Only one row is copied at a time."""
    done = np.zeros(len(order), np.bool_)
    for start in range(len(order)):
        if done[start]:
            continue
        held, place = rows[start].copy(), start
        while (source := order[place]) != start:
            rows[place] = rows[source]
            done[place], place = True, source
        rows[place], done[place] = held, True
