"""Failed batches: only the bad request fails, or all of them at once if none can be saved."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from service.engine.batcher import Batcher
from service.engine.errors import DeviceLost
from service.engine.lane import Lane, LaneConfig
from tests.service.blocks import Blocks, join

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]
Run = Callable[[Blocks], Any]


class Counted:
    """A batch function that notes what it was called with."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.calls: list[Blocks] = []

    def __call__(self, blocks: Blocks) -> Any:
        self.calls.append(blocks)
        return self._run(blocks)


def poisoned(*rows: int) -> Run:
    """Fails for these rows, naming the first that it meets; doubles all others."""

    def run(blocks: Blocks) -> Blocks:
        for block in blocks:
            for row in block:
                if row in rows:
                    raise ValueError(f"row {row} is bad")
        return [[2 * row for row in block] for block in blocks]

    return run


def make_lane(batcher: Batcher, run: Run) -> Lane:
    return batcher.lane(LaneConfig(run, join, max_batch=8, max_queue_rows=200, max_rows=100))


async def submit_together(batcher: Batcher, busy: Busy, lane: Lane, *blocks: list[int]) -> list[Any]:
    """Outcomes of blocks that share their first batch."""
    async with busy(batcher):
        tasks = [asyncio.ensure_future(lane.submit(block)) for block in blocks]
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("count", [2, 3, 5, 8])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
async def test_a_poisoned_request_fails_alone(batcher: Batcher, busy: Busy, count: int, place: str) -> None:
    bad = {"first": 0, "middle": count // 2, "last": count - 1}[place]
    lane = make_lane(batcher, poisoned(bad))
    results = await submit_together(batcher, busy, lane, *([row] for row in range(count)))
    assert str(results.pop(bad)) == f"row {bad} is bad"
    assert results == [[2 * row] for row in range(count) if row != bad]
    assert (lane.stats.batches, lane.stats.rows, lane.queued_rows) == (1, count, 0)


async def test_two_poisoned_requests_fail_each_with_its_own_reason(batcher: Batcher, busy: Busy) -> None:
    lane = make_lane(batcher, poisoned(1, 6))
    results = await submit_together(batcher, busy, lane, *([row] for row in range(8)))
    assert [str(result) for result in results if isinstance(result, ValueError)] == ["row 1 is bad", "row 6 is bad"]
    assert [result for result in results if isinstance(result, list)] == [[0], [4], [6], [8], [10], [14]]


async def test_errors_of_two_kinds_are_not_alike(batcher: Batcher, busy: Busy) -> None:
    def fail(blocks: Blocks) -> None:
        raise {1: KeyError, 2: IndexError}.get(blocks[-1][0], ValueError)("the same words")

    lane = make_lane(batcher, fail)
    assert [type(result) for result in await submit_together(batcher, busy, lane, [1], [2])] == [KeyError, IndexError]


@pytest.mark.parametrize("count", [2, 3, 8])
async def test_when_all_fail_alike_nothing_is_searched_for(batcher: Batcher, busy: Busy, count: int) -> None:
    def fail(blocks: Blocks) -> None:
        raise ValueError("the same for all")

    run = Counted(fail)
    results = await submit_together(batcher, busy, make_lane(batcher, run), *([row] for row in range(count)))
    assert [str(result) for result in results] == ["the same for all"] * count
    assert len(run.calls) == 3  # all, and both halves


async def test_a_lone_request_that_fails_is_not_run_again(batcher: Batcher) -> None:
    run = Counted(poisoned(1))
    with pytest.raises(ValueError, match="row 1 is bad"):
        await make_lane(batcher, run).submit([1, 2])
    assert run.calls == [[[1, 2]]]


async def test_no_part_of_a_batch_is_run_again_unchanged(batcher: Batcher, busy: Busy) -> None:
    run = Counted(poisoned(0))
    await submit_together(batcher, busy, make_lane(batcher, run), *([row] for row in range(8)))
    assert [len(call) for call in run.calls] == [8, 4, 4, 2, 2, 1, 1]


async def test_of_a_failed_request_the_rest_is_not_computed(batcher: Batcher, busy: Busy) -> None:
    run = Counted(poisoned(2))
    lane = make_lane(batcher, run)
    results = await submit_together(batcher, busy, lane, list(range(20)), [50])
    assert str(results[0]) == "row 2 is bad"
    assert results[1] == [100]
    assert max(row for call in run.calls for block in call for row in block if row != 50) == 6
    assert (lane.stats.rows, lane.stats.dropped_rows, lane.queued_rows) == (8, 13, 0)


async def test_the_lane_serves_on_after_a_failure(batcher: Batcher, busy: Busy) -> None:
    lane = make_lane(batcher, poisoned(1))
    with pytest.raises(ValueError, match="bad"):
        await lane.submit([1])
    assert await lane.submit([2]) == [4]


@pytest.mark.parametrize(
    "run",
    [
        lambda blocks: blocks[:-1],
        lambda blocks: [*blocks, [1]],
        lambda blocks: [block[:-1] for block in blocks],
        lambda blocks: [],
        lambda blocks: [[*block, 1] for block in blocks],
    ],
)
async def test_a_wrong_number_of_rows_is_an_error(batcher: Batcher, run: Run) -> None:
    with pytest.raises(RuntimeError, match="as many rows as it was given"):
        await make_lane(batcher, run).submit([1, 2])
    assert batcher.lost == ""


@pytest.mark.parametrize("output", [None, 7, [None, None]])
async def test_what_is_no_list_of_blocks_is_an_error(batcher: Batcher, output: object) -> None:
    with pytest.raises(TypeError):
        await make_lane(batcher, lambda blocks: output).submit([1, 2])
    assert await make_lane(batcher, poisoned()).submit([1]) == [2]


async def test_stop_iteration_in_a_batch_is_an_error_that_a_future_takes(batcher: Batcher, busy: Busy) -> None:
    lane = make_lane(batcher, lambda blocks: next(iter(())))
    results = await submit_together(batcher, busy, lane, [1], [2])
    assert [type(result) for result in results] == [RuntimeError, RuntimeError]


async def test_what_joins_the_parts_may_fail_too(batcher: Batcher) -> None:
    def fail(parts: Blocks) -> None:
        raise MemoryError("no room for the answer")

    lane = batcher.lane(LaneConfig(poisoned(), fail, max_batch=8, max_queue_rows=200, max_rows=100))
    with pytest.raises(MemoryError):
        await lane.submit(list(range(10)))
    assert (await lane.submit([1]), lane.queued_rows) == ([2], 0)


# --- the device is lost while halves are run


async def test_a_lost_device_is_not_asked_again(batcher: Batcher, busy: Busy) -> None:
    def lose(blocks: Blocks) -> None:
        raise DeviceLost("gone")

    run = Counted(lose)
    results = await submit_together(batcher, busy, make_lane(batcher, run), [1], [2], [3])
    assert [type(result) for result in results] == [DeviceLost] * 3
    assert len(run.calls) == 1


@pytest.mark.parametrize("lost_at", [1, 2])
async def test_a_device_lost_in_a_half_is_lost_for_all(batcher: Batcher, busy: Busy, lost_at: int) -> None:
    """The batch fails for a reason of its own, then the device goes while one half or the other is run."""

    def run(blocks: Blocks) -> None:
        if blocks == [[lost_at]]:
            raise DeviceLost("gone")
        raise ValueError(f"cannot do {blocks}")

    lane = make_lane(batcher, run)
    results = await submit_together(batcher, busy, lane, [1], [2])
    assert [type(result) for result in results] == [DeviceLost, DeviceLost]
    assert batcher.lost == "gone"
    with pytest.raises(DeviceLost):
        await lane.submit([3])
