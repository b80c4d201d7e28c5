"""Several workers: batches in flight beside each other, and every future resolved whoever of them fails or ends first."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from service.engine.batcher import Batcher
from service.engine.errors import DeviceLost
from service.engine.lane import Lane, LaneConfig
from tests.service.blocks import Blocks, join, outcomes, start

NAME = "one of two workers"


class Kitchen:
    """A batch function each of whose batches runs until the test lets it go, by its first row."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began: dict[int, asyncio.Event] = {}
        self._ends: dict[int, threading.Event] = {}
        self.batches: list[Blocks] = []
        self.errors: dict[int, BaseException] = {}

    def __call__(self, blocks: Blocks) -> Blocks:
        first = blocks[0][0]
        self.batches.append(blocks)
        self._loop.call_soon_threadsafe(self.began(first).set)
        assert self.end(first).wait(20)
        if first in self.errors:
            raise self.errors[first]
        return [list(block) for block in blocks]

    def began(self, first: int) -> asyncio.Event:
        return self._began.setdefault(first, asyncio.Event())

    def end(self, first: int) -> threading.Event:
        return self._ends.setdefault(first, threading.Event())


@pytest.fixture
async def batcher() -> AsyncIterator[Batcher]:
    batcher = Batcher(NAME, workers=2)
    batcher.start()
    assert [thread.name for thread in threading.enumerate()].count(NAME) == 2
    yield batcher
    async with asyncio.timeout(20):
        await batcher.close()
    assert NAME not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
async def kitchen() -> Kitchen:
    return Kitchen(asyncio.get_running_loop())


@pytest.fixture
def lane(batcher: Batcher, kitchen: Kitchen) -> Lane:
    return batcher.lane(LaneConfig(kitchen, join, max_batch=8, max_queue_rows=1000, max_rows=500))


async def test_two_batches_run_at_once_and_a_third_waits(lane: Lane, kitchen: Kitchen) -> None:
    tasks = start(lane, [1])
    await kitchen.began(1).wait()
    tasks += start(lane, [2])
    await kitchen.began(2).wait()
    tasks += start(lane, [3], [4])
    await asyncio.sleep(0)
    assert (lane.waiting_rows, [task.done() for task in tasks]) == (2, [False] * 4)
    kitchen.end(2).set()  # the second may be done first
    await kitchen.began(3).wait()
    assert await outcomes(tasks[1:2]) == [[2]]
    assert not tasks[0].done()
    for first in (1, 3):
        kitchen.end(first).set()
    assert await outcomes(tasks) == [[1], [2], [3], [4]]
    assert kitchen.batches == [[[1]], [[2]], [[3], [4]]]
    assert (lane.stats.batches, lane.stats.rows, lane.queued_rows) == (3, 4, 0)


async def test_the_batches_of_one_request_run_beside_each_other(lane: Lane, kitchen: Kitchen) -> None:
    tasks = start(lane, list(range(16)))
    for first in (0, 8):
        await kitchen.began(first).wait()
    kitchen.end(0).set()
    kitchen.end(8).set()
    assert sorted((await outcomes(tasks))[0]) == list(range(16))


async def test_a_call_runs_beside_a_batch(batcher: Batcher, lane: Lane, kitchen: Kitchen) -> None:
    tasks = start(lane, [1])
    await kitchen.began(1).wait()
    async with asyncio.timeout(20):
        assert await batcher.call(lambda: "done") == "done"
    kitchen.end(1).set()
    assert await outcomes(tasks) == [[1]]


async def test_a_failed_part_fails_its_request_once(lane: Lane, kitchen: Kitchen) -> None:
    kitchen.errors = {0: ValueError("zero"), 8: ValueError("eight")}
    tasks = start(lane, list(range(40)))
    for first in (0, 8):
        await kitchen.began(first).wait()
    kitchen.end(8).set()
    assert [str(result) for result in await outcomes(tasks)] == ["eight"]
    assert (lane.queued_rows, lane.stats.dropped_rows) == (0, 24)
    kitchen.end(0).set()
    kitchen.end(50).set()
    assert await outcomes(start(lane, [50])) == [[50]]


@pytest.mark.parametrize("error", [DeviceLost("gone"), SystemExit(1)])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_batch_beside_the_one_that_loses_the_device_is_answered(
    batcher: Batcher, lane: Lane, kitchen: Kitchen, error: BaseException
) -> None:
    kitchen.errors = {1: error}
    tasks = start(lane, [1])
    await kitchen.began(1).wait()
    tasks += start(lane, [2])
    await kitchen.began(2).wait()
    tasks += start(lane, [3])
    await asyncio.sleep(0)
    kitchen.end(1).set()
    results = await outcomes([tasks[0], tasks[2]])
    assert [type(result) for result in results] == [DeviceLost] * 2
    kitchen.end(2).set()
    assert await outcomes(tasks[1:2]) == [[2]]
    with pytest.raises(DeviceLost):
        await lane.submit([4])
    assert batcher.lost
    assert lane.queued_rows == 0


async def test_close_finishes_both_batches_and_what_waits(batcher: Batcher, lane: Lane, kitchen: Kitchen) -> None:
    tasks = start(lane, list(range(20)))
    for first in (0, 8):
        await kitchen.began(first).wait()
    tasks.append(asyncio.ensure_future(batcher.close()))
    await asyncio.sleep(0)
    for first in (0, 8, 16):
        kitchen.end(first).set()
    results = await outcomes(tasks)
    assert (sorted(results[0]), results[1]) == (list(range(20)), None)
