"""Random traffic with cancellations, deadlines and failures: every future is resolved, and the counts add up.

With batches on a worker, and with short ones on the event loop, where the turn goes to and fro.
"""

import asyncio
import itertools
import math
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from service.engine.batcher import Batcher
from service.engine.errors import BatcherError, Closed, DeadlineExceeded, DeviceLost, Overloaded, TooLarge
from service.engine.lane import Lane, LaneConfig
from tests.service.blocks import Blocks, join

REQUESTS = 150
# of each kind of batcher: its arguments, and how many seconds of so many rows a lane believes in
KINDS: dict[str, tuple[dict[str, Any], Callable[[int], float]]] = {
    "worker": ({}, lambda rows: math.inf),
    "loop": ({"short_seconds": 1.0}, lambda rows: 0.0),
    "both": ({"short_seconds": 1.0}, lambda rows: float(rows % 3)),
}


class Poisoned(Exception):
    """Raised for a negative row; names it, so that no two requests fail alike."""


def padding(rows: int) -> int:
    return 8 - rows


def batch_function(chance: random.Random, lost_after: int | None) -> Callable[[Blocks], Blocks]:
    calls = 0

    def run(blocks: Blocks) -> Blocks:
        nonlocal calls
        calls += 1
        assert sum(map(len, blocks)) <= 8
        if lost_after is not None and calls > lost_after:
            raise DeviceLost("gone")
        if chance.random() < 0.1:
            time.sleep(0)  # lets another thread in
        for row in itertools.chain.from_iterable(blocks):
            if row < 0:
                raise Poisoned(str(row))
        return [[row + 1 for row in block] for block in blocks]

    return run


async def one_request(lane: Lane, chance: random.Random, number: int, admitted: list[int]) -> tuple[list[int], Any]:
    """(rows, what became of them); counts the rows that are to be computed or dropped."""
    rows = [1000 * number + i for i in range(1, 1 + chance.choice([1, 1, 1, 2, 5, 8, 9, 30, 70]))]
    if chance.random() < 0.15:
        rows[chance.randrange(len(rows))] *= -1
    deadline = chance.choice([None, None, None, time.monotonic(), time.monotonic() + 1000])
    extra, outcome = chance.choice([0, 0, 3]), None
    try:
        with lane.reserve(len(rows) + extra) as reservation:
            admitted.append(len(rows) + extra)
            try:
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
                outcome = await reservation.submit(rows, deadline)
                admitted.append(-extra)  # given back
            except Exception:
                admitted.append(-extra)
                raise
    except (BatcherError, Poisoned, asyncio.CancelledError) as error:
        outcome = error
    return rows, outcome


async def one_call(batcher: Batcher, number: int) -> tuple[list[int], Any]:
    """A call instead of a request: as if it were one row."""
    try:
        return [number], [await batcher.call(lambda: number + 1)]
    except BatcherError as error:
        return [number], error


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("ending", ["quiet", "closed", "lost"])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_future_is_resolved_and_every_row_is_counted(seed: int, ending: str, kind: str) -> None:
    chance = random.Random(seed)
    arguments, seconds = KINDS[kind]
    batcher = Batcher(**arguments)
    batcher.start()
    run = batch_function(chance, chance.randrange(40) if ending == "lost" else None)
    lanes = [
        batcher.lane(
            LaneConfig(run, join, max_batch=8, max_queue_rows=max_queue_rows, max_rows=60, seconds=seconds, padding=padding)
        )
        for max_queue_rows in (60, 200)
    ]
    admitted: list[list[int]] = [[], []]
    tasks: list[asyncio.Task[tuple[list[int], Any]]] = []
    closing: list[asyncio.Task[None]] = []
    for number in range(REQUESTS):
        which = chance.randrange(2)
        tasks.append(asyncio.ensure_future(one_request(lanes[which], chance, number, admitted[which])))
        if ending != "closed" and chance.random() < 0.05:
            tasks.append(asyncio.ensure_future(one_call(batcher, number)))
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        if ending == "closed" and number == REQUESTS // 2:
            closing.append(asyncio.ensure_future(batcher.close()))
    async with asyncio.timeout(20):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    at_the_end = {"quiet": (), "closed": (Closed,), "lost": (DeviceLost,)}[ending]
    expected = (TooLarge, Overloaded, DeadlineExceeded, asyncio.CancelledError, Poisoned, *at_the_end)
    for result in results:
        rows, outcome = result if isinstance(result, tuple) else ([], result)
        if isinstance(outcome, list):
            assert outcome == [row + 1 for row in rows]
        else:
            assert isinstance(outcome, expected)
            assert not isinstance(outcome, Poisoned) or min(rows) < 0
    async with asyncio.timeout(20):
        await asyncio.gather(*closing, batcher.close())  # batches whose callers have left may be running still
    for lane, submitted in zip(lanes, admitted, strict=True):
        assert (lane.queued_rows, lane.waiting_rows) == (0, 0)
        assert lane.stats.rows + lane.stats.padded_rows == 8 * lane.stats.batches
        if ending != "lost":  # where rows are admitted that a lost device then refuses
            assert lane.stats.rows + lane.stats.dropped_rows == sum(submitted)
