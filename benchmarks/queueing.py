"""A simulation of replicas that take whatever waits as the next batch, with requests that arrive at random.

It says what latencies to expect from more replicas than can be tried. Knows nothing of servers: the times of batches come in.
"""

import heapq
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Balancing = Literal["random", "least"]  # a random replica for each request; or the one with the fewest requests
WARM_UP = 0.1  # share of the requests, from an empty start, that does not count


@dataclass(frozen=True)
class BatchTimes:
    """How long a batch takes: `seconds[i]` for `sizes[i]` requests, and on a line between two sizes."""

    sizes: tuple[int, ...]  # ascending, from 1
    seconds: tuple[float, ...]
    waking: tuple[float, ...] = (0.0,)  # how many seconds more a batch takes that begins on an idle replica: one of these

    def of(self, size: int) -> float:
        """Return the seconds of a batch of `size` requests, at most the largest size."""
        right = bisect_left(self.sizes, size)
        if self.sizes[right] == size:
            return self.seconds[right]
        left = right - 1
        share = (size - self.sizes[left]) / (self.sizes[right] - self.sizes[left])
        return self.seconds[left] + share * (self.seconds[right] - self.seconds[left])

    @property
    def capacity(self) -> float:
        """The requests per second of one replica that is never idle: its batches are as large as can be."""
        return self.sizes[-1] / self.seconds[-1]


@dataclass(frozen=True)
class Latencies:
    """Seconds from arrival to answer, ascending."""

    sorted: Sequence[float]

    def percentile(self, percent: float) -> float:
        """Return a percentile, 0 to 100."""
        return self.sorted[min(len(self.sorted) - 1, int(len(self.sorted) * percent / 100))]

    @property
    def mean(self) -> float:
        """The mean."""
        return sum(self.sorted) / len(self.sorted)


class _Replica:
    def __init__(self) -> None:
        self.waiting: list[float] = []  # arrivals
        self.running: list[float] = []


def simulate(
    times: BatchTimes, replicas: int, rate: float, requests: int, balancing: Balancing = "random", seed: int = 0
) -> Latencies:
    """Return the latencies of so many requests, which arrive as a Poisson process of `rate` per second.

    A replica runs one batch at a time, takes all that wait when it is free, up to the largest size, and answers a batch when
    it is done. Raises ValueError if the rate is more than the replicas can serve.
    """
    if rate >= replicas * times.capacity:
        raise ValueError(f"{rate:g} requests a second are more than {replicas} x {times.capacity:.0f} can serve")
    draw, all_replicas = random.Random(seed), [_Replica() for _ in range(replicas)]
    ends: list[tuple[float, int]] = []  # of running batches
    found: list[float] = []
    arrival = draw.expovariate(rate)
    left = requests
    while left or ends:
        if left and (not ends or arrival < ends[0][0]):
            place = draw.randrange(replicas) if balancing == "random" else _fewest(all_replicas, draw)
            all_replicas[place].waiting.append(arrival)
            now, left = arrival, left - 1
            arrival += draw.expovariate(rate)
            if all_replicas[place].running:
                continue
            waking = draw.choice(times.waking)
        else:
            now, place = heapq.heappop(ends)
            waking = 0.0
            found += [now - came for came in all_replicas[place].running]
        replica = all_replicas[place]
        replica.running, replica.waiting = replica.waiting[: times.sizes[-1]], replica.waiting[times.sizes[-1] :]
        if replica.running:
            heapq.heappush(ends, (now + waking + times.of(len(replica.running)), place))
    return Latencies(sorted(found[int(WARM_UP * len(found)) :]))


def _fewest(replicas: Sequence[_Replica], draw: random.Random) -> int:
    counts = [len(replica.waiting) + len(replica.running) for replica in replicas]
    least = min(counts)
    return draw.choice([place for place, count in enumerate(counts) if count == least])


def replicas_for(
    times: BatchTimes, rate: float, p99: float, requests: int, balancing: Balancing = "random", most: int = 1000
) -> int | None:
    """Return a small number of replicas whose 99th percentile is at most `p99` seconds; None if none up to `most` was found.

    Many more replicas may be slower, since idle ones take longer, so the search goes up by doubling, and then between the last
    two numbers.
    """

    def enough(count: int) -> bool:
        return simulate(times, count, rate, requests, balancing).percentile(99) <= p99

    low = high = int(rate / times.capacity) + 1
    while high > most or not enough(high):
        if high >= most:
            return None
        low, high = high + 1, min(2 * high, most)
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return low
