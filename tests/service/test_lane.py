"""One queue: admission, shares of each batch, and what becomes of requests that are cancelled or late."""

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any

import pytest

from service.batcher import Batcher
from service.gate import Closed, DeadlineExceeded, Overloaded, TooLarge
from service.lane import Lane

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]
Blocks = list[list[int]]


class Kitchen:
    """A batch function that notes its batches and can be held while it runs."""

    def __init__(self) -> None:
        self.batches: list[Blocks] = []
        self.entered, self.release = threading.Event(), threading.Event()
        self.release.set()

    def __call__(self, blocks: Blocks) -> Blocks:
        self.batches.append(blocks)
        self.entered.set()
        assert self.release.wait(20)
        return [[10 * row for row in block] for block in blocks]

    @property
    def sizes(self) -> list[list[int]]:
        return [[len(block) for block in batch] for batch in self.batches]

    async def hold(self, lane: Lane, block: list[int], deadline: float | None = None) -> "asyncio.Task[Any]":
        """Submit a block, and come back while its first batch runs."""
        self.release.clear()
        task = asyncio.ensure_future(lane.submit(block, deadline))
        assert await asyncio.to_thread(self.entered.wait, 20)
        return task


def join(parts: Blocks) -> list[int]:
    return list(itertools.chain.from_iterable(parts))


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
def lane(batcher: Batcher, kitchen: Kitchen) -> Lane:
    return batcher.lane(kitchen, join, max_batch=8, max_queue_rows=200, max_rows=100)


def start(lane: Lane, *blocks: list[int], deadline: float | None = None) -> "list[asyncio.Task[Any]]":
    return [asyncio.ensure_future(lane.submit(block, deadline)) for block in blocks]


async def outcomes(tasks: "list[asyncio.Task[Any]]") -> list[Any]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks, return_exceptions=True)


# --- admission


@pytest.mark.parametrize(("max_batch", "max_queue_rows", "max_rows"), [(0, 8, 8), (16, 8, 8), (8, 8, 0), (8, 8, 9)])
def test_bounds_must_agree(max_batch: int, max_queue_rows: int, max_rows: int) -> None:
    with pytest.raises(ValueError, match="at most max_queue_rows"):
        Batcher().lane(list, join, max_batch=max_batch, max_queue_rows=max_queue_rows, max_rows=max_rows)


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
        assert math.isclose(caught.value.retry_after, 20 * lane.seconds_per_batch)  # 160 rows in batches of 8
        assert caught.value.retry_after > 0
        tasks += start(lane, [0] * 40)  # fits to the row
    assert [len(result) for result in await outcomes(tasks)] == [100, 60, 40]
    assert lane.queued_rows == 0


async def test_a_full_queue_counts_what_waits_in_all_lanes(batcher: Batcher, lane: Lane, kitchen: Kitchen, busy: Busy) -> None:
    other = batcher.lane(kitchen, join, max_batch=4, max_queue_rows=4, max_rows=4)
    await asyncio.gather(lane.submit([1]), other.submit([1]))
    async with busy(batcher):
        tasks = start(lane, [0] * 9) + start(other, [0])
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            other.reserve(4)
        assert math.isclose(caught.value.retry_after, 2 * lane.seconds_per_batch + other.seconds_per_batch)
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


async def test_more_rows_than_reserved_are_refused(lane: Lane) -> None:
    with lane.reserve(3) as reservation:
        await reservation.submit([1])
        for block in ([1, 2, 3], []):
            with pytest.raises(ValueError, match="2 are reserved"):
                await reservation.submit(block)
    with pytest.raises(ValueError, match="0 are reserved"):
        await reservation.submit([1])
    assert lane.queued_rows == 0


async def test_a_reservation_knows_how_long_its_batches_took(lane: Lane) -> None:
    with lane.reserve(20) as reservation:
        await reservation.submit(list(range(20)))  # three batches
    assert reservation.compute_seconds > lane.seconds_per_batch > 0
    assert reservation.queue_seconds > 0


# --- batches


@pytest.mark.parametrize(
    ("waiting", "batches"),
    [
        ([20], [[8], [8], [4]]),
        ([6, 6], [[4, 4], [2, 2]]),
        ([1, 20], [[1, 7], [8], [5]]),
        ([30, 1, 1, 1], [[5, 1, 1, 1], [8], [8], [8], [1]]),  # small requests do not stand behind a huge one
        ([3] * 10, [[1] * 8, [1] * 8, [1] * 8, [1] * 6]),
        ([1] * 9, [[1] * 8, [1]]),
    ],
)
async def test_rows_of_all_requests_take_turns(
    batcher: Batcher, lane: Lane, kitchen: Kitchen, busy: Busy, waiting: list[int], batches: list[list[int]]
) -> None:
    blocks = [[100 * i + row for row in range(size)] for i, size in enumerate(waiting)]
    async with busy(batcher):
        tasks = start(lane, *blocks)
    assert await outcomes(tasks) == [[10 * row for row in block] for block in blocks]
    assert kitchen.sizes == batches
    assert (lane.stats.batches, lane.stats.rows, lane.queued_rows) == (len(batches), sum(waiting), 0)


async def test_a_block_that_is_not_split_is_not_copied(lane: Lane, kitchen: Kitchen) -> None:
    block = [1, 2, 3]
    await lane.submit(block)
    assert kitchen.batches[0][0] is block


# --- callers that are gone


async def test_a_caller_that_leaves_the_queue_is_never_computed(
    batcher: Batcher, lane: Lane, kitchen: Kitchen, busy: Busy
) -> None:
    async with busy(batcher):
        tasks = start(lane, [1], [2, 3], [4])
        await asyncio.sleep(0)
        tasks[1].cancel()
    results = await outcomes(tasks)
    assert (results[0], type(results[1]), results[2]) == ([10], asyncio.CancelledError, [40])
    assert kitchen.batches == [[[1], [4]]]
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows) == (2, 2, 0)


async def test_a_caller_may_leave_while_its_batch_runs(lane: Lane, kitchen: Kitchen) -> None:
    task = await kitchen.hold(lane, [1, 2])
    task.cancel()
    await asyncio.sleep(0)
    kitchen.release.set()
    assert await lane.submit([3]) == [30]
    assert task.cancelled()
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows) == (3, 0, 0)


async def test_of_a_caller_that_leaves_midway_the_rest_is_dropped(lane: Lane, kitchen: Kitchen) -> None:
    task = await kitchen.hold(lane, list(range(20)))
    task.cancel()
    await asyncio.sleep(0)
    kitchen.release.set()
    await lane.submit([3])
    assert kitchen.sizes == [[8], [1]]
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows) == (9, 12, 0)


class Leaving(list[int]):
    """A block whose caller leaves right after the worker's first look at it."""

    task: "asyncio.Task[Any]"
    seen = False

    def __len__(self) -> int:
        if threading.current_thread() is not threading.main_thread() and not self.seen:
            self.seen, gone = True, threading.Event()

            def leave() -> None:
                self.task.cancel()
                gone.set()

            self.task.get_loop().call_soon_threadsafe(leave)
            assert gone.wait(20)
        return super().__len__()


async def test_rows_are_counted_once_when_a_caller_leaves_while_a_batch_is_formed(kitchen: Kitchen) -> None:
    batcher = Batcher()  # closed only when the counts are right: it waits for rows that are queued
    lane = batcher.lane(kitchen, join, max_batch=8, max_queue_rows=200, max_rows=100)
    block = Leaving(range(7))
    block.task, other = start(lane, block, [7])
    await asyncio.sleep(0)
    batcher.start()  # the first look gives 4 rows to the one and 1 to the other, the second look the room that is left
    assert [type(result) for result in await outcomes([block.task, other])] == [asyncio.CancelledError, list]
    assert (lane.queued_rows, lane.stats.rows + lane.stats.dropped_rows) == (0, 8)
    await batcher.close()


async def test_rows_whose_deadline_has_passed_are_dropped(batcher: Batcher, lane: Lane, kitchen: Kitchen, busy: Busy) -> None:
    async with busy(batcher):
        tasks = start(lane, [1, 2], deadline=time.monotonic()) + start(lane, [3], deadline=time.monotonic() + 1000)
    late, early = await outcomes(tasks)
    assert isinstance(late, DeadlineExceeded)
    assert early == [30]
    assert kitchen.batches == [[[3]]]
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows) == (1, 2, 0)


async def test_a_deadline_that_passes_midway_drops_the_rest(
    lane: Lane, kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [5.0]
    monkeypatch.setattr("service.lane.time", SimpleNamespace(monotonic=lambda: now[0]))
    task = await kitchen.hold(lane, list(range(20)), deadline=6.0)
    now[0] = 6.0
    kitchen.release.set()
    assert [type(result) for result in await outcomes([task])] == [DeadlineExceeded]
    assert kitchen.sizes == [[8]]
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows) == (8, 12, 0)
