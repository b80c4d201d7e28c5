"""One queue: shares of each batch, and what becomes of requests that are cancelled or late."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any

import pytest

from service.engine.batcher import Batcher
from service.engine.errors import DeadlineExceeded
from service.engine.lane import Lane, LaneConfig
from tests.service.blocks import Blocks, join, outcomes, start

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]


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


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
def lane(batcher: Batcher, kitchen: Kitchen) -> Lane:
    return batcher.lane(LaneConfig(kitchen, join, max_batch=8, max_queue_rows=200, max_rows=100))


# --- batches


@pytest.mark.parametrize(
    ("waiting", "batches"),
    [
        ([20], [[8], [8], [4]]),
        ([5, 1], [[5, 1]]),
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


async def test_many_large_requests_take_turns_in_shares_worth_slicing(batcher: Batcher, kitchen: Kitchen, busy: Busy) -> None:
    lane = batcher.lane(LaneConfig(kitchen, join, max_batch=32, max_queue_rows=1000, max_rows=100))
    blocks = [list(range(100 * i, 100 * i + 8)) for i in range(20)]
    async with busy(batcher):
        tasks = start(lane, *blocks, [9000])
    assert await outcomes(tasks) == [[10 * row for row in block] for block in blocks] + [[90000]]
    # an eighth of a batch for each, and the single one has not waited for all of the others
    assert kitchen.sizes == [[4] * 8, [4] * 8, [4] * 4 + [1] + [4] * 3 + [3], [4] * 8, [4] * 8, [1]]


async def test_a_request_of_many_blocks_has_one_turn(batcher: Batcher, lane: Lane, kitchen: Kitchen, busy: Busy) -> None:
    async with busy(batcher):
        with lane.reserve(30) as reservation:
            blocks = [asyncio.ensure_future(reservation.submit([10 * i, 10 * i + 1, 10 * i + 2])) for i in range(10)]
            await asyncio.sleep(0)
            single = start(lane, [1000])
            await asyncio.sleep(0)
    assert await outcomes(blocks + single) == [[100 * i, 100 * i + 10, 100 * i + 20] for i in range(10)] + [[10000]]
    assert kitchen.sizes == [[3, 3, 1, 1], [2, 3, 3], [3, 3, 2], [1, 3, 3]]


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
        await asyncio.wait(tasks[1:2])
        assert lane.queued_rows == 2  # there is room for others before the worker has looked
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


async def test_a_caller_that_has_just_left_is_skipped_before_the_queue_is_told(lane: Lane, kitchen: Kitchen) -> None:
    running = await kitchen.hold(lane, [1])
    leaving, staying = start(lane, [2], [3])
    await asyncio.sleep(0)
    leaving.cancel()
    kitchen.entered.clear()
    kitchen.release.set()
    assert kitchen.entered.wait(20)  # the event loop stands still while the next batch is formed
    assert kitchen.batches == [[[1]], [[3]]]
    assert [type(result) for result in await outcomes([running, leaving, staying])] == [list, asyncio.CancelledError, list]
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows) == (2, 1, 0)


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
    lane = batcher.lane(LaneConfig(kitchen, join, max_batch=8, max_queue_rows=200, max_rows=100))
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
    monkeypatch.setattr("service.engine.lane.time", SimpleNamespace(monotonic=lambda: now[0]))
    task = await kitchen.hold(lane, list(range(20)), deadline=6.0)
    now[0] = 6.0
    kitchen.release.set()
    assert [type(result) for result in await outcomes([task])] == [DeadlineExceeded]
    assert kitchen.sizes == [[8]]
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows) == (8, 12, 0)
