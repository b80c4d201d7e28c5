"""Short batches on the event loop, long ones and calls on the worker: who runs what, in turn, one at a time."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from service.engine.batcher import Batcher
from service.engine.lane import Lane, LaneConfig
from tests.service.blocks import Blocks, join, outcomes, start

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]

# a row takes a second by its word: batches of up to that many rows are short
SHORT_ROWS = 4


class Kitchen:
    """A batch function that notes its batches and where each ran, and refuses to run beside another one."""

    cooking = threading.Lock()

    def __init__(self) -> None:
        self.batches: list[Blocks] = []
        self.on_loop: list[bool] = []

    def __call__(self, blocks: Blocks) -> Blocks:
        assert self.cooking.acquire(blocking=False), "two batches at once"
        try:
            self.batches.append(blocks)
            self.on_loop.append(threading.current_thread() is threading.main_thread())
            return [[10 * row for row in block] for block in blocks]
        finally:
            self.cooking.release()


def make_lane(
    batcher: Batcher, run: Callable[[Blocks], Blocks], seconds: Callable[[int], float] = float, max_batch: int = 8
) -> Lane:
    return batcher.lane(LaneConfig(run, join, max_batch=max_batch, max_queue_rows=1000, max_rows=500, seconds=seconds))


@pytest.fixture
async def batcher() -> AsyncIterator[Batcher]:
    batcher = Batcher("batcher under test", short_seconds=SHORT_ROWS)
    batcher.start()
    yield batcher
    await batcher.close()


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
def lane(batcher: Batcher, kitchen: Kitchen) -> Lane:
    return make_lane(batcher, kitchen)


def test_batches_run_at_once_or_on_the_loop_not_both() -> None:
    for workers, short_seconds in ((0, 0.0), (2, 1.0)):
        with pytest.raises(ValueError, match="workers must be at least 1, and exactly 1 if short_seconds"):
            Batcher(workers=workers, short_seconds=short_seconds)


# --- where a batch runs


@pytest.mark.parametrize(("rows", "on_loop"), [(1, True), (SHORT_ROWS, True), (SHORT_ROWS + 1, False), (8, False)])
async def test_a_batch_known_to_be_short_runs_on_the_loop(lane: Lane, kitchen: Kitchen, rows: int, on_loop: bool) -> None:
    assert await lane.submit(list(range(rows))) == [10 * row for row in range(rows)]
    assert kitchen.on_loop == [on_loop]
    assert (lane.stats.batches, lane.stats.rows, lane.queued_rows, lane.waiting_rows) == (1, rows, 0, 0)


async def test_of_a_lane_that_knows_no_times_all_batches_are_long(batcher: Batcher, kitchen: Kitchen) -> None:
    lane = batcher.lane(LaneConfig(kitchen, join, max_batch=8, max_queue_rows=100, max_rows=50))
    await lane.submit([1])
    assert kitchen.on_loop == [False]


async def test_it_is_the_whole_batch_that_counts(lane: Lane, kitchen: Kitchen) -> None:
    """Requests that are short each are not when they are together; of a huge one only the last batch is."""
    await outcomes(start(lane, [1, 2], [3, 4], [5, 6]))
    await outcomes(start(lane, list(range(19))))
    assert [sum(map(len, batch)) for batch in kitchen.batches] == [6, 8, 8, 3]
    assert kitchen.on_loop == [False, False, False, True]


async def test_reserved_rows_make_no_batch_long(lane: Lane, kitchen: Kitchen) -> None:
    with lane.reserve(100):
        await lane.submit([1])
    assert kitchen.on_loop == [True]


async def test_calls_run_on_the_worker_in_turn_with_short_batches(batcher: Batcher, lane: Lane, kitchen: Kitchen) -> None:
    order: list[Any] = []

    def note() -> threading.Thread:
        order.append(len(kitchen.batches))
        return threading.current_thread()

    first = await batcher.call(note)
    tasks: list[asyncio.Task[Any]] = start(lane, [1])
    tasks += [asyncio.ensure_future(batcher.call(note)), *start(lane, [2])]
    _, thread, _ = await outcomes(tasks)
    assert first is thread is not threading.current_thread()
    assert order == [0, 0]  # a call goes before what waits beside it
    assert kitchen.on_loop == [True]


# --- what shares a batch


async def test_what_is_submitted_in_one_turn_of_the_loop_shares_a_batch(lane: Lane, kitchen: Kitchen) -> None:
    assert await outcomes(start(lane, [1], [2], [3], [4])) == [[10], [20], [30], [40]]
    assert kitchen.batches == [[[1], [2], [3], [4]]]


async def test_between_two_short_batches_others_have_their_turn_and_may_join(batcher: Batcher, kitchen: Kitchen) -> None:
    """The loop goes round between two batches, and who has come by then has a share of the next."""
    lane = make_lane(batcher, kitchen, lambda rows: 0.0)
    tasks = start(lane, list(range(20)))
    seen = [0]
    while len(kitchen.batches) < 3:
        await asyncio.sleep(0)
        seen.append(len(kitchen.batches))
        if seen[-2:] == [0, 1]:
            tasks += start(lane, [100])
    await outcomes(tasks)
    assert {after - before for before, after in itertools.pairwise(seen)} == {0, 1}
    assert [[len(block) for block in batch] for batch in kitchen.batches] == [[8], [7, 1], [5]]
    assert kitchen.on_loop == [True] * 3


async def test_short_batches_wake_nobody(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_soon_threadsafe", None)  # what a worker would call
        assert await outcomes(start(lane, [1], [2])) == [[10], [20]]
        assert await lane.submit([3]) == [30]


# --- from the loop to the worker and back


async def test_while_a_long_batch_runs_short_ones_wait_for_it_and_the_loop_does_not(batcher: Batcher, lane: Lane) -> None:
    loop, entered, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    done: list[bool] = []

    def hold(blocks: Blocks) -> Blocks:
        loop.call_soon_threadsafe(entered.set)
        done.append(release.wait(20))
        return blocks

    long = make_lane(batcher, hold, lambda rows: 100.0)
    tasks = start(long, [1])
    await entered.wait()
    tasks += start(lane, [2], [3])
    for _ in range(10):
        await asyncio.sleep(0)
    assert (lane.waiting_rows, lane.stats.batches, done) == (2, 0, [])
    release.set()
    assert await outcomes(tasks) == [[1], [20], [30]]
    assert (lane.stats.batches, done) == (1, [True])


@pytest.mark.parametrize("busy_first", [False, True])
async def test_long_and_short_lanes_take_turns(batcher: Batcher, busy: Busy, busy_first: bool) -> None:
    order: list[tuple[str, bool]] = []

    def named(name: str) -> Callable[[Blocks], Blocks]:
        def run(blocks: Blocks) -> Blocks:
            order.append((name, threading.current_thread() is threading.main_thread()))
            return blocks

        return run

    long = make_lane(batcher, named("long"), lambda rows: 100.0, max_batch=2)
    short = make_lane(batcher, named("short"), lambda rows: 0.0, max_batch=2)
    if busy_first:
        async with busy(batcher):
            tasks = start(long, list(range(8))) + start(short, [1, 2, 3, 4])
    else:
        tasks = start(long, list(range(8))) + start(short, [1, 2, 3, 4])
    assert await outcomes(tasks) == [list(range(8)), [1, 2, 3, 4]]
    assert order == [("long", False), ("short", True)] * 2 + [("long", False)] * 2


async def test_under_mixed_traffic_nothing_overlaps_and_nothing_is_lost(batcher: Batcher, kitchen: Kitchen) -> None:
    lanes = [make_lane(batcher, kitchen), make_lane(batcher, kitchen, max_batch=16), make_lane(batcher, kitchen)]
    sizes = [1, 5, 2, 30, 1, 1, 4, 9, 3, 17]
    tasks, expected = [], []
    for number in range(300):
        block = [1000 * number + row for row in range(sizes[number % len(sizes)])]
        tasks += start(lanes[number % 3], block)
        expected.append([10 * row for row in block])
        if number % 7 == 0:
            await asyncio.sleep(0)
        if number % 50 == 0:
            assert await batcher.call(lambda: 5) == 5
    assert await outcomes(tasks) == expected
    assert {True, False} == set(kitchen.on_loop)
    assert [lane.stats.rows for lane in lanes] == [sum(map(len, expected[which::3])) for which in range(3)]
    assert [(lane.queued_rows, lane.waiting_rows) for lane in lanes] == [(0, 0)] * 3


def test_a_batcher_serves_one_event_loop_after_the_other(kitchen: Kitchen) -> None:
    """If the first loop has ended while the worker had the turn, the worker may go on: there is no loop to take it."""
    batcher = Batcher(short_seconds=SHORT_ROWS)
    batcher.start()
    lane = make_lane(batcher, kitchen)
    for rows in (1, 8, 1, 8, 8, 1):

        async def one(rows: int = rows) -> None:
            async with asyncio.timeout(20):
                assert await lane.submit([1] * rows) == [10] * rows

        asyncio.run(one())
    asyncio.run(batcher.close())
    assert [kitchen.on_loop[0], kitchen.on_loop[1], kitchen.on_loop[3], kitchen.on_loop[4]] == [True, False, False, False]
