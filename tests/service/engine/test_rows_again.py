"""Rows that stay admitted and are submitted again and again, as those of sequences are."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from service.engine.batcher import Batcher
from service.engine.errors import Overloaded
from service.engine.lane import Lane, LaneConfig
from tests.service.blocks import Blocks, join, outcomes, start

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]


def tenfold(blocks: Blocks) -> Blocks:
    if any(-1 in block for block in blocks):
        raise ValueError("minus one")
    return [[10 * row for row in block] for block in blocks]


@pytest.fixture
def lane(batcher: Batcher) -> Lane:
    return batcher.lane(LaneConfig(tenfold, join, max_batch=8, max_queue_rows=20, max_rows=20))


async def test_rows_are_admitted_once_and_count_until_the_end(lane: Lane) -> None:
    with lane.reserve(12, again=True) as reservation:
        rows = list(range(12))
        for turn in range(1, 4):
            rows = await reservation.submit(rows)
            assert rows == [10**turn * i for i in range(12)]
            assert (lane.queued_rows, lane.waiting_rows) == (12, 0)
        assert await reservation.submit([1, 2]) == [10, 20]  # The others have ended.
        with pytest.raises(ValueError, match="13 rows were submitted, but only 12 are reserved"):
            await reservation.submit([0] * 13)
        assert await lane.submit([3] * 8) == [30] * 8  # There is room for so many others.
        with pytest.raises(Overloaded):
            lane.reserve(9)
    assert (lane.queued_rows, lane.waiting_rows) == (0, 0)
    assert (lane.stats.rows, lane.stats.rejected_rows, lane.stats.dropped_rows) == (3 * 12 + 2 + 8, 9, 0)


async def test_a_full_queue_never_refuses_what_goes_on(batcher: Batcher, lane: Lane, busy: Busy) -> None:
    with lane.reserve(10, again=True) as reservation:
        assert await reservation.submit([1] * 10) == [10] * 10
        async with busy(batcher):
            (other,) = start(lane, [2] * 10)
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                lane.reserve(1)
            again = asyncio.ensure_future(reservation.submit([3] * 10))
            await asyncio.sleep(0)
            assert lane.waiting_rows == 20
        assert (await again, await other) == ([30] * 10, [20] * 10)
    assert lane.queued_rows == 0


async def test_closing_waits_until_they_have_ended(batcher: Batcher, lane: Lane) -> None:
    with lane.reserve(4, again=True) as reservation:
        await reservation.submit([1] * 4)
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        assert await reservation.submit([2] * 4) == [20] * 4
        assert not closing.done()
    await closing


async def test_a_failed_batch_gives_all_rows_back(lane: Lane) -> None:
    with pytest.raises(ValueError, match="minus one"), lane.reserve(12, again=True) as reservation:
        await reservation.submit([0] * 11 + [-1])
    assert (lane.queued_rows, lane.waiting_rows) == (0, 0)


async def test_a_caller_who_leaves_gives_all_rows_back(batcher: Batcher, lane: Lane, busy: Busy) -> None:
    async def ask() -> None:
        with lane.reserve(12, again=True) as reservation:
            while True:
                await reservation.submit([1] * 12)

    task = asyncio.ensure_future(ask())
    while not lane.stats.batches:  # noqa: ASYNC110
        await asyncio.sleep(0)
    async with busy(batcher):
        task.cancel()
        await outcomes([task])
    assert (lane.queued_rows, lane.waiting_rows) == (0, 0)
    assert await lane.submit([1] * 20) == [10] * 20


async def test_rows_that_come_again_make_the_estimate_longer(batcher: Batcher, lane: Lane) -> None:
    lane.turns = 5
    await lane.submit([1])
    with lane.reserve(16, again=True):
        assert batcher._seconds_to_drain() == pytest.approx(2 * 5 * lane.seconds_per_batch)
