"""The worker: late binding, turns of lanes and calls, loss of the device, closing, and one wake-up a batch."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from service.engine.batcher import Batcher
from service.engine.errors import BatcherError, Closed, DeviceLost
from service.engine.lane import Lane, LaneConfig
from tests.service.blocks import Blocks, join, outcomes, start

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]


def echo(blocks: Blocks) -> Blocks:
    return [list(block) for block in blocks]


def make_lane(batcher: Batcher, run: Callable[[Blocks], Blocks] = echo, max_batch: int = 8) -> Lane:
    return batcher.lane(LaneConfig(run, join, max_batch=max_batch, max_queue_rows=1000, max_rows=500))


def test_making_a_batcher_starts_no_thread() -> None:
    before = set(threading.enumerate())
    make_lane(Batcher())
    assert set(threading.enumerate()) <= before  # threads of earlier tests may still be ending


async def test_an_idle_worker_runs_a_lone_row_at_once(batcher: Batcher) -> None:
    lane = make_lane(batcher, lambda blocks: [[2 * row for row in block] for block in blocks])
    assert await lane.submit([21]) == [42]
    assert (lane.stats.batches, lane.stats.rows, lane.queued_rows) == (1, 1, 0)


async def test_what_arrives_while_a_batch_runs_forms_the_next_one(batcher: Batcher) -> None:
    loop, entered, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    batches: list[Blocks] = []

    def run(blocks: Blocks) -> Blocks:
        batches.append(blocks)
        loop.call_soon_threadsafe(entered.set)
        assert release.wait(20)
        return blocks

    lane = make_lane(batcher, run)
    tasks = start(lane, [0])
    await entered.wait()
    assert (batches, lane.queued_rows) == ([[[0]]], 0)
    tasks += start(lane, [1], [2, 3])
    await asyncio.sleep(0)
    tasks += start(lane, [4])  # another time of arrival, the same batch
    await asyncio.sleep(0)
    assert lane.queued_rows == 4
    release.set()
    assert await outcomes(tasks) == [[0], [1], [2, 3], [4]]
    assert batches == [[[0]], [[1], [2, 3], [4]]]


async def test_lanes_take_turns(batcher: Batcher, busy: Busy) -> None:
    order: list[str] = []

    def named(name: str) -> Callable[[Blocks], Blocks]:
        def run(blocks: Blocks) -> Blocks:
            order.append(name)
            return blocks

        return run

    long, short = make_lane(batcher, named("long"), 2), make_lane(batcher, named("short"), 2)
    async with busy(batcher):
        tasks = start(long, list(range(8))) + start(short, [1, 2, 3, 4])
    await outcomes(tasks)
    assert order == ["long", "short", "long", "short", "long", "long"]


async def test_a_removed_lane_gets_no_more_turns(batcher: Batcher) -> None:
    lane, other = make_lane(batcher), make_lane(batcher)
    batcher.remove(lane)
    assert await other.submit([1]) == [1]
    with pytest.raises(ValueError, match="not in deque"):
        batcher.remove(lane)


# --- calls


async def test_calls_run_on_the_worker_in_turn_with_batches(batcher: Batcher, busy: Busy) -> None:
    threads: dict[str, threading.Thread] = {}

    def note(name: str, value: Any = None) -> Any:
        threads[name] = threading.current_thread()
        return value

    lane = make_lane(batcher, lambda blocks: note("batch", blocks))
    async with busy(batcher):
        tasks = [*start(lane, [1]), asyncio.ensure_future(batcher.call(lambda: note("call", "done")))]
    assert await outcomes(tasks) == [[1], "done"]
    assert threads["batch"] is threads["call"] is not threading.main_thread()


async def test_what_a_call_raises_reaches_its_caller_alone(batcher: Batcher) -> None:
    with pytest.raises(ZeroDivisionError):
        await batcher.call(lambda: 1 // 0)
    assert await batcher.call(lambda: "still there") == "still there"


async def test_stop_iteration_from_a_call_reaches_its_caller(batcher: Batcher) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await batcher.call(lambda: next(iter(())))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_system_exit_from_a_call_reaches_its_caller(batcher: Batcher) -> None:
    def leave() -> None:
        raise SystemExit(3)

    async with asyncio.timeout(5):
        with pytest.raises(DeviceLost, match="SystemExit"):
            await batcher.call(leave)
    assert "SystemExit" in batcher.lost


async def test_a_cancelled_call_is_resolved_once(batcher: Batcher, busy: Busy) -> None:
    async with busy(batcher):
        call = asyncio.ensure_future(batcher.call(lambda: 1))
        await asyncio.sleep(0)
        call.cancel()
    assert isinstance((await outcomes([call]))[0], asyncio.CancelledError)
    assert await batcher.call(lambda: 2) == 2


# --- the device is gone


def lose(blocks: Blocks) -> Blocks:
    raise DeviceLost("no such device any more")


async def test_a_lost_device_fails_all_that_waits_and_all_that_comes(batcher: Batcher, busy: Busy) -> None:
    broken, other = make_lane(batcher, lose, 2), make_lane(batcher)
    with other.reserve(3) as reservation:
        async with busy(batcher):
            tasks = start(broken, [1, 2], [3], [4]) + start(other, [5])
        assert [type(result) for result in await outcomes(tasks)] == [DeviceLost] * 4
        assert batcher.lost == "no such device any more"
        with pytest.raises(DeviceLost, match="no such device"):
            await reservation.submit([6])
    for lane in (broken, other):
        with pytest.raises(DeviceLost, match="no such device"):
            await lane.submit([7])
        assert lane.queued_rows == 0
    with pytest.raises(DeviceLost):
        await batcher.call(lambda: 1)


async def test_a_lost_device_fails_the_calls_that_wait(batcher: Batcher) -> None:
    loop, entered, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def run(blocks: Blocks) -> Blocks:
        loop.call_soon_threadsafe(entered.set)
        assert release.wait(20)
        raise DeviceLost("gone")

    tasks = start(make_lane(batcher, run), [1])
    await entered.wait()
    tasks.append(asyncio.ensure_future(batcher.call(lambda: "never")))
    await asyncio.sleep(0)
    release.set()
    assert [str(result) for result in await outcomes(tasks)] == ["gone", "gone"]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_dying_thread_leaves_nobody_waiting(batcher: Batcher, busy: Busy, error: BaseException) -> None:
    def die(blocks: Blocks) -> Blocks:
        raise error

    dying, other = make_lane(batcher, die, 2), make_lane(batcher, die)
    async with busy(batcher):
        tasks = start(dying, [1], [2, 3, 4, 5], [6]) + start(other, [7])
    assert all(isinstance(result, DeviceLost) for result in await outcomes(tasks))
    assert (dying.queued_rows, other.queued_rows) == (0, 0)
    assert repr(error) in batcher.lost
    with pytest.raises(DeviceLost):
        await other.submit([8])


# --- closing


async def test_close_finishes_what_was_admitted_then_ends_the_thread(busy: Busy) -> None:
    batcher = Batcher("to be closed")
    batcher.start()
    lane = make_lane(batcher, max_batch=2)
    reservation = lane.reserve(3)
    async with busy(batcher):
        tasks = start(lane, [1, 2, 3, 4, 5])
        closing = asyncio.ensure_future(batcher.close("going home"))
    assert await outcomes(tasks) == [[1, 2, 3, 4, 5]]
    with pytest.raises(Closed, match="going home"):
        await lane.submit([6])
    with pytest.raises(Closed, match="going home"):
        await batcher.call(lambda: 1)
    assert "to be closed" in [thread.name for thread in threading.enumerate()]  # a reservation is outstanding
    with reservation:
        assert await reservation.submit([7, 8]) == [7, 8]  # and the third row is given back
    async with asyncio.timeout(20):
        await closing
    assert "to be closed" not in [thread.name for thread in threading.enumerate()]
    assert (lane.queued_rows, batcher.lost) == (0, "")


async def test_close_is_harmless_before_the_start_and_after_the_end() -> None:
    batcher = Batcher()
    await batcher.close()
    with pytest.raises(Closed):
        make_lane(batcher).reserve(1)
    started = Batcher()
    started.start()
    await started.close("first")
    await started.close("second")
    with pytest.raises(BatcherError, match="first"):
        await started.call(lambda: 1)


# --- the event loop


async def test_a_batch_wakes_the_event_loop_once(batcher: Batcher, busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, wake_ups = asyncio.get_running_loop(), 0
    wake_up = loop.call_soon_threadsafe

    def counted(*args: Any, **options: Any) -> asyncio.Handle:
        nonlocal wake_ups
        wake_ups += 1
        return wake_up(*args, **options)

    lane = make_lane(batcher)
    async with busy(batcher):
        tasks = start(lane, *([row] for row in range(20)))
        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    await outcomes(tasks)
    assert lane.stats.batches == 3
    assert wake_ups == 3 + 1  # and one for the call that kept the worker busy
