"""How a sequence is made step by step: the noise of its steps, their temperature, and where it ends at the latest.

Knows nothing of lanes or requests.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Stepping:
    """How the steps of a request's sequences are chosen; `temperature` 0: each is the likeliest one.

    `seed`: that of the noise, which is keyed by (seed, item, step). `max_length`: None for that of the model. `begun`: steps
    that are given, rows (N, T, ...), for sequences that go on from a beginning. `items`: the numbers under which
    the rows draw their noise, (N,); None: 0, 1, ... `seeds`: a seed for each row instead, (N,), each with the noise of item 0.
    """

    temperature: float = 0.0
    seed: int = 0
    max_length: int | None = None
    begun: NDArray[Any] | None = None
    items: NDArray[np.int64] | None = None
    seeds: NDArray[np.int64] | None = None


GREEDY = Stepping()
