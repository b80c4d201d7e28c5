"""Minutes of requests of all kinds beside callers who hang up, send rubbish and come in floods: nothing is worse then."""

import asyncio
import random
import statistics
import time
from contextlib import suppress

import pytest

from .footprint import Footprint, footprint
from .hostile import misbehave
from .mixture import Caller, Request, Tally, mixture
from .pictures import Pixels
from .server import Server, serving

SECONDS, MINUTE = 600.0, 60.0
CALLERS, PAUSE_SECONDS = 6, 0.02
GROWTH, SLOWER = 1.05, 1.3


async def load(server: Server, requests: list[Request], seconds: float, seed: int) -> Tally:
    """Send requests for so many seconds, then close all connections. Return the tally of the well-behaved callers."""
    chance, tally, end = random.Random(seed), Tally(), time.monotonic() + seconds

    async def call() -> None:
        caller = Caller(server.url, tally)
        while time.monotonic() < end:
            await caller.send(chance.choice(requests))
            await asyncio.sleep(PAUSE_SECONDS)  # there is as much of everything in every minute
        await caller.close()

    others = asyncio.create_task(misbehave(server.url, requests, seed))
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    others.cancel()
    with suppress(asyncio.CancelledError):
        await others
    return tally


def p99(tally: Tally) -> float:
    """Return the 99th percentile of the last minute of a tally, in seconds."""
    last = max(when for when, _ in tally.times)
    return statistics.quantiles([taken for when, taken in tally.times if when > last - MINUTE], n=100)[98]


@pytest.mark.soak
def test_nothing_is_worse_after_minutes_of_abuse(request: pytest.FixtureRequest, pngs: list[bytes], digits: Pixels) -> None:
    """`--seconds` says for how long, ten minutes otherwise."""
    seconds = float(request.config.getoption("seconds", None) or SECONDS)
    requests = mixture(pngs, digits)
    with serving("--models", "mnist", "--access-log", "false", anew=True) as server:
        seen: list[Footprint] = []
        slowest: list[float] = []
        for part, duration in enumerate((MINUTE, *[max(MINUTE, (seconds - MINUTE) / 3)] * 3)):
            tally = asyncio.run(load(server, requests, duration, part))
            assert not tally.faults, (set(tally.faults), tally.statuses)
            seen.append(footprint(server))
            slowest.append(p99(tally))
            said = f"{duration:.0f} s, {len(tally.times)} answers: {seen[-1]}; p99 {slowest[-1] * 1e3:.1f} ms"
            print(f"{said}; {dict(sorted(tally.statuses.items()))}")  # noqa: T201
        told = f"{list(map(str, seen))}, p99 {slowest} s"
        assert seen[-1].resident <= GROWTH * seen[0].resident, told
        assert (seen[-1].descriptors, seen[-1].threads) == (seen[0].descriptors, seen[0].threads), told
        assert slowest[-1] <= SLOWER * slowest[0], told
