"""Tell the user how far a long evaluation is, on stderr: a bar on a terminal, otherwise a line every so often.

Knows nothing of models. It only looks at the clock, so it never changes a result.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

from models.train.progress import FIRST_PAUSE, LONGEST_PAUSE, duration

T = TypeVar("T")


def followed(
    parts: Iterable[T], what: str, weights: Sequence[float], clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:
    """Yield the parts of a computation, and tell how much is done. `weights`: how long each part takes, in any unit."""
    whole, done = sum(weights), 0.0
    started = last = clock()
    pause = FIRST_PAUSE
    with tqdm(total=whole, desc=what, disable=None, bar_format="{l_bar}{bar}| [{elapsed}<{remaining}]", leave=False) as bar:
        for part, weight in zip(parts, weights, strict=True):
            yield part
            bar.update(weight)
            done, now = done + weight, clock()
            if bar.disable and now - last >= pause and done < whole:
                last, pause = now, min(2 * pause, LONGEST_PAUSE)
                left = (now - started) / done * (whole - done)
                tqdm.write(f"{what}: {100 * done / whole:.0f} %, {duration(left)} left", file=sys.stderr)
