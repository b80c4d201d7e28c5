"""Admission to a queue: all rows or none, reservations, and what a full queue says."""

import asyncio
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace

import pytest

from service.engine.batcher import Batcher
from service.engine.errors import Closed, Overloaded, TooLarge
from service.engine.lane import Lane, LaneConfig
from tests.service.blocks import Blocks, join, outcomes, start

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]


def tenfold(blocks: Blocks) -> Blocks:
    return [[10 * row for row in block] for block in blocks]


@pytest.fixture
def lane(batcher: Batcher) -> Lane:
    return batcher.lane(LaneConfig(tenfold, join, max_batch=8, max_queue_rows=200, max_rows=100))


@pytest.mark.parametrize(("max_batch", "max_queue_rows", "max_rows"), [(0, 8, 8), (16, 8, 8), (8, 8, 0), (8, 8, 9)])
def test_bounds_must_agree(max_batch: int, max_queue_rows: int, max_rows: int) -> None:
    with pytest.raises(ValueError, match="at most max_queue_rows"):
        Batcher().lane(LaneConfig(list, join, max_batch=max_batch, max_queue_rows=max_queue_rows, max_rows=max_rows))


async def test_the_least_bounds_are_one(batcher: Batcher) -> None:
    lane = batcher.lane(LaneConfig(lambda blocks: blocks, join, max_batch=1, max_queue_rows=1, max_rows=1))
    assert await lane.submit([7]) == [7]


@pytest.mark.parametrize("rows", [0, -1])
async def test_a_request_without_rows_is_a_defect_of_the_caller(lane: Lane, rows: int) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        lane.reserve(rows)


async def test_more_rows_than_a_request_may_have_are_never_admitted(lane: Lane) -> None:
    with pytest.raises(TooLarge, match="101 items, at most 100") as caught:
        await lane.submit([0] * 101)
    assert (caught.value.rows, caught.value.max_rows) == (101, 100)
    assert (lane.stats.rejected_rows, lane.queued_rows) == (101, 0)


async def test_admission_is_all_or_nothing_and_says_when_to_come_back(batcher: Batcher, lane: Lane, busy: Busy) -> None:
    await lane.submit([1])  # there is a measured time now
    async with busy(batcher):
        tasks = start(lane, [0] * 100, [0] * 60)
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await lane.submit([0] * 41)
        assert (lane.queued_rows, lane.stats.rejected_rows) == (160, 41)
        assert math.isclose(caught.value.seconds, 20 * lane.seconds_per_batch)  # 160 rows in batches of 8
        assert caught.value.seconds > 0
        assert caught.value.retry_after == 1
        tasks += start(lane, [0] * 40)  # fits to the row
    assert [len(result) for result in await outcomes(tasks)] == [100, 60, 40]
    assert lane.queued_rows == 0


async def test_a_full_queue_counts_what_waits_in_all_lanes(batcher: Batcher, lane: Lane, busy: Busy) -> None:
    other = batcher.lane(LaneConfig(tenfold, join, max_batch=4, max_queue_rows=4, max_rows=4))
    await asyncio.gather(lane.submit([1]), other.submit([1]))
    async with busy(batcher):
        tasks = start(lane, [0] * 9) + start(other, [0])
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            other.reserve(4)
        assert math.isclose(caught.value.seconds, 2 * lane.seconds_per_batch + other.seconds_per_batch)
    await outcomes(tasks)


async def test_a_closed_batcher_admits_nothing(batcher: Batcher, lane: Lane) -> None:
    await batcher.close("closed for today")
    with pytest.raises(Closed, match="closed for today"):
        lane.reserve(1)
    assert lane.queued_rows == 0


# --- reservations


async def test_a_reservation_holds_its_rows_and_gives_back_what_was_not_submitted(lane: Lane) -> None:
    with lane.reserve(10) as reservation:
        assert lane.queued_rows == 10
        assert await reservation.submit([1, 2]) == [10, 20]
        assert lane.queued_rows == 8
        assert await outcomes([asyncio.ensure_future(reservation.submit([row])) for row in (3, 4)]) == [[30], [40]]
    assert (lane.queued_rows, lane.stats.rows, lane.stats.dropped_rows) == (0, 4, 0)


async def test_a_reservation_is_given_back_when_its_request_fails(lane: Lane) -> None:
    with pytest.raises(ZeroDivisionError), lane.reserve(10):
        _ = 1 // 0
    assert lane.queued_rows == 0


async def test_rows_of_a_caller_that_leaves_before_they_are_made_are_counted_as_dropped(lane: Lane) -> None:
    halfway = asyncio.Event()

    async def make_rows_for_ever() -> None:
        with lane.reserve(10) as reservation:
            await reservation.submit([1, 2])
            halfway.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(make_rows_for_ever())
    await halfway.wait()
    task.cancel()
    await asyncio.wait([task])
    assert (lane.queued_rows, lane.stats.rows, lane.stats.dropped_rows) == (0, 2, 8)


async def test_more_rows_than_reserved_are_refused(lane: Lane) -> None:
    with lane.reserve(3) as reservation:
        await reservation.submit([1])
        for block in ([1, 2, 3], []):
            with pytest.raises(ValueError, match="2 are reserved"):
                await reservation.submit(block)
    with pytest.raises(ValueError, match="0 are reserved"):
        await reservation.submit([1])
    assert lane.queued_rows == 0


async def test_waiting_and_computing_are_timed(batcher: Batcher, busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    now, durations = [100.0], iter([2.0, 4.0, 2.0])
    for module in ("lane", "reservation"):
        monkeypatch.setattr(f"service.engine.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))

    def run(blocks: Blocks) -> Blocks:
        now[0] += next(durations)
        return blocks

    lane = batcher.lane(LaneConfig(run, join, max_batch=8, max_queue_rows=20, max_rows=20))
    with lane.reserve(20) as reservation:
        async with busy(batcher):
            task = asyncio.ensure_future(reservation.submit(list(range(20))))
            await asyncio.sleep(0)
            now[0] += 3
        await task
    assert (reservation.queue_seconds, reservation.compute_seconds) == (3, 2 + 4 + 2)  # the wait for the first batch
    assert math.isclose(lane.seconds_per_batch, (2 * 0.8 + 4 * 0.2) * 0.8 + 2 * 0.2)  # the newest one weighs a fifth
