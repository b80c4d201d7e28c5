"""A hundred thousand requests of all kinds, a third of them refused: what the service holds stays what it was."""

import asyncio
import random

import pytest

from .footprint import MIB, Footprint, footprint
from .mixture import Caller, Request, Tally, mixture
from .pictures import Pixels
from .server import Server, serving

REQUESTS, WARM = 100_000, 10_000
CALLERS = 8


async def ask(server: Server, requests: list[Request], count: int, seed: int) -> Tally:
    """So many of the requests in random order, from several callers; on return all connections are closed."""
    chance, tally, left = random.Random(seed), Tally(), iter(range(count))

    async def call() -> None:
        caller = Caller(server.url, tally)
        for _ in left:
            await caller.send(chance.choice(requests))
        await caller.close()

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return tally


@pytest.mark.soak
def test_nothing_grows_with_the_number_of_requests(pngs: list[bytes], digits: Pixels) -> None:
    requests = mixture(pngs, digits)
    with serving("--models", "mnist", "--access-log", "false", anew=True) as server:
        seen: list[Footprint] = []
        for part, count in enumerate((WARM, *[(REQUESTS - WARM) // 3] * 3)):
            tally = asyncio.run(ask(server, requests, count, part))
            assert not tally.faults, (set(tally.faults), tally.statuses)
            seen.append(footprint(server))
            print(f"{count} requests: {seen[-1]}; {dict(sorted(tally.statuses.items()))}")  # noqa: T201
        first, last = seen[0], seen[-1]
        assert last.resident - first.resident < max(0.05 * first.resident, 8 * MIB), list(map(str, seen))
        assert (last.descriptors, last.threads) == (first.descriptors, first.threads), list(map(str, seen))
