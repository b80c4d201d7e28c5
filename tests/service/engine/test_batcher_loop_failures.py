"""Short batches that fail on the event loop, callers who are gone, and the end: every future is resolved."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from service.engine.batcher import Batcher
from service.engine.errors import Closed, DeadlineExceeded, DeviceLost
from service.engine.lane import Lane, LaneConfig
from tests.service.blocks import Blocks, join, outcomes, start

Run = Callable[[Blocks], Any]

NAME = "worker under test"


def echo(blocks: Blocks) -> Blocks:
    return [list(block) for block in blocks]


def make_lane(batcher: Batcher, run: Run = echo, short: bool = True, max_batch: int = 8) -> Lane:
    seconds = 0.0 if short else 100.0
    return batcher.lane(
        LaneConfig(run, join, max_batch=max_batch, max_queue_rows=1000, max_rows=500, seconds=lambda rows: seconds)
    )


def worker_lives() -> bool:
    return NAME in [thread.name for thread in threading.enumerate()]


@pytest.fixture
async def batcher() -> AsyncIterator[Batcher]:
    batcher = Batcher(NAME, short_seconds=1.0)
    batcher.start()
    yield batcher
    async with asyncio.timeout(20):
        await batcher.close()
    assert not worker_lives()


# --- a batch fails


@pytest.mark.parametrize("bad", [0, 3, 7])
async def test_a_poisoned_request_fails_alone(batcher: Batcher, bad: int) -> None:
    calls: list[int] = []

    def run(blocks: Blocks) -> Blocks:
        calls.append(len(blocks))
        if [bad] in blocks:
            raise ValueError(f"row {bad} is bad")
        return blocks

    lane = make_lane(batcher, run)
    results = await outcomes(start(lane, *([row] for row in range(8))))
    assert str(results.pop(bad)) == f"row {bad} is bad"
    assert results == [[row] for row in range(8) if row != bad]
    assert calls == [8, 4, 4, 2, 2, 1, 1]
    assert (lane.stats.batches, lane.stats.rows, lane.queued_rows) == (1, 8, 0)


@pytest.mark.parametrize("error", [ValueError("always"), StopIteration(), MemoryError(), asyncio.InvalidStateError()])
async def test_what_fails_for_all_alike_reaches_all(batcher: Batcher, error: Exception) -> None:
    def fail(blocks: Blocks) -> None:
        raise error

    lane = make_lane(batcher, fail)
    results = await outcomes(start(lane, [1], [2, 3], list(range(20))))
    wanted = RuntimeError if isinstance(error, StopIteration) else type(error)
    assert [type(result) for result in results] == [wanted] * 3
    assert lane.queued_rows == 0
    assert lane.stats.rows + lane.stats.dropped_rows == 23
    assert await make_lane(batcher).submit([1]) == [1]


async def test_rows_that_are_missing_are_an_error(batcher: Batcher) -> None:
    lane = make_lane(batcher, lambda blocks: [block[1:] for block in blocks])
    assert [type(result) for result in await outcomes(start(lane, [1, 2], [3]))] == [RuntimeError] * 2


# --- the device is gone


def lose(blocks: Blocks) -> Blocks:
    raise DeviceLost("no such device any more")


@pytest.mark.parametrize("short", [True, False])
async def test_a_lost_device_fails_all_that_waits_and_all_that_comes(batcher: Batcher, short: bool) -> None:
    broken, others = make_lane(batcher, lose, short, 2), [make_lane(batcher), make_lane(batcher, short=False)]
    with others[0].reserve(3) as reservation:
        tasks = start(broken, [1, 2], [3], [4]) + start(others[0], [5]) + start(others[1], [6])
        results = await outcomes(tasks)
        assert [type(result) for result in results[:3]] == [DeviceLost] * 3
        assert all(isinstance(result, (list, DeviceLost)) for result in results[3:])
        assert batcher.lost == "no such device any more"
        with pytest.raises(DeviceLost, match="no such device"):
            await reservation.submit([7])
    for lane in (broken, *others):
        with pytest.raises(DeviceLost, match="no such device"):
            await lane.submit([8])
        assert (lane.queued_rows, lane.waiting_rows) == (0, 0)
    with pytest.raises(DeviceLost):
        await batcher.call(lambda: 1)


class Dying(BaseException):
    """Neither an Exception nor one of those that end the event loop."""


async def test_a_defect_on_the_loop_leaves_nobody_waiting(batcher: Batcher) -> None:
    def die(blocks: Blocks) -> Blocks:
        raise Dying("at once")

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    dying, other, long = make_lane(batcher, die, max_batch=2), make_lane(batcher, die), make_lane(batcher, short=False)
    tasks = start(dying, [1], [2, 3, 4, 5], [6]) + start(other, [7]) + start(long, [8])
    assert [type(result) for result in await outcomes(tasks)] == [DeviceLost] * 5
    assert [type(context["exception"]) for context in reported] == [Dying]
    assert "Dying" in batcher.lost
    assert [(lane.queued_rows, lane.waiting_rows) for lane in (dying, other, long)] == [(0, 0)] * 3
    with pytest.raises(DeviceLost):
        await other.submit([9])


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_the_loop_leaves_nobody_waiting(error: BaseException) -> None:
    def die(blocks: Blocks) -> Blocks:
        raise error

    batcher = Batcher(NAME, short_seconds=1.0)
    batcher.start()
    lane = make_lane(batcher, die, max_batch=2)
    with asyncio.Runner() as runner:
        tasks: list[asyncio.Task[Any]] = []

        async def submit() -> None:
            tasks.extend(start(lane, [1], [2, 3, 4], [5]))
            await asyncio.wait(tasks)

        with pytest.raises(type(error)):
            runner.get_loop().run_until_complete(submit())
        assert [type(result) for result in runner.run(outcomes(tasks))] == [DeviceLost] * 3
        runner.run(batcher.close())
    assert lane.queued_rows == 0
    assert not worker_lives()


# --- callers that are gone


async def test_callers_who_left_or_came_late_are_dropped_and_counted(batcher: Batcher) -> None:
    seen: list[Blocks] = []

    def note(blocks: Blocks) -> Blocks:
        seen.append(blocks)
        return blocks

    lane = make_lane(batcher, note)
    tasks = start(lane, [1], [2, 3])
    tasks += start(lane, [4, 5, 6], deadline=time.monotonic()) + start(lane, [7], deadline=time.monotonic() + 1000)

    async def leave() -> None:  # in the round in which the rows came, before the batch is formed
        tasks[1].cancel()

    await asyncio.gather(leave())
    results = await outcomes(tasks)
    assert [type(result) for result in results] == [list, asyncio.CancelledError, DeadlineExceeded, list]
    assert seen == [[[1], [7]]]
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows, lane.waiting_rows) == (2, 5, 0, 0)


async def test_when_all_who_wait_are_gone_nothing_runs(batcher: Batcher) -> None:
    lane = make_lane(batcher, lose)
    late = start(lane, [1], [2, 3], deadline=time.monotonic())
    assert [type(result) for result in await outcomes(late)] == [DeadlineExceeded] * 2
    gone = start(lane, [4], [5])
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    assert [type(result) for result in await outcomes(gone)] == [asyncio.CancelledError] * 2
    assert (lane.stats.batches, lane.stats.dropped_rows, lane.queued_rows, batcher.lost) == (0, 5, 0, "")


async def test_of_a_caller_that_leaves_between_two_batches_the_rest_is_dropped(batcher: Batcher) -> None:
    leaving: list[asyncio.Task[Any]] = []

    def run(blocks: Blocks) -> Blocks:
        leaving[0].cancel()
        return blocks

    lane = make_lane(batcher, run)
    leaving += start(lane, list(range(20)))
    assert [type(result) for result in await outcomes(leaving)] == [asyncio.CancelledError]
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows) == (8, 12, 0)


# --- closing


async def test_close_finishes_what_is_about_to_run_on_the_loop(batcher: Batcher) -> None:
    lane = make_lane(batcher)
    tasks = start(lane, list(range(20)), [30])
    await asyncio.sleep(0)
    assert lane.waiting_rows == 21
    await batcher.close()
    assert [task.result() for task in tasks] == [list(range(20)), [30]]
    with pytest.raises(Closed):
        await lane.submit([1])


@pytest.mark.parametrize("first_is_short", [False, True])
async def test_close_finishes_long_and_short_batches(batcher: Batcher, first_is_short: bool) -> None:
    loop, entered, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def hold(blocks: Blocks) -> Blocks:
        loop.call_soon_threadsafe(entered.set)
        assert release.wait(20)
        return blocks

    short, long = make_lane(batcher, max_batch=2), make_lane(batcher, hold, short=False, max_batch=2)
    tasks = start(short, [1, 2, 3]) if first_is_short else []
    tasks += start(long, [4, 5, 6])
    await entered.wait()
    tasks += start(short, [7, 8, 9])
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(Closed):
        await short.submit([1])
    release.set()
    results = await outcomes([*tasks, closing])
    assert results[:-1] == ([[1, 2, 3]] if first_is_short else []) + [[4, 5, 6], [7, 8, 9]]
    assert not worker_lives()


@pytest.mark.parametrize("short", [True, False])
async def test_close_waits_for_rows_that_are_reserved(batcher: Batcher, short: bool) -> None:
    lane, other = make_lane(batcher, short=short), make_lane(batcher)
    with lane.reserve(5) as reservation, other.reserve(1):
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        assert await reservation.submit([1]) == [1]
        assert await reservation.submit([2, 3]) == [2, 3]
        assert worker_lives()
    await outcomes([closing])  # and the last rows are given back
    assert closing.exception() is None
    assert (lane.queued_rows, other.queued_rows) == (0, 0)
    assert not worker_lives()


async def test_close_finishes_calls_that_wait_behind_a_long_batch(batcher: Batcher) -> None:
    loop, entered, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def hold(blocks: Blocks) -> Blocks:
        loop.call_soon_threadsafe(entered.set)
        assert release.wait(20)
        return blocks

    tasks: list[asyncio.Task[Any]] = start(make_lane(batcher, hold, short=False), [1])
    await entered.wait()
    tasks.append(asyncio.ensure_future(batcher.call(lambda: "done")))
    await asyncio.sleep(0)
    tasks.append(asyncio.ensure_future(batcher.close()))
    await asyncio.sleep(0)
    release.set()
    assert await outcomes(tasks) == [[1], "done", None]
