"""Places in the database: how many, in what order, and who is turned away."""

import asyncio
from functools import partial

import pytest

from service.store.daemon_threads import DaemonThreads
from service.store.postgres.slots import NoSlot, Slots

PATIENCE = 0.05
LONG = 30.0


async def test_one_key_has_only_some_and_the_others_have_the_rest() -> None:
    slots = Slots(4, 2, LONG)
    await slots.take("a")
    await slots.take("a")
    third = asyncio.ensure_future(slots.take("a"))
    await slots.take("b")
    await slots.take("b")
    fourth, fifth = asyncio.ensure_future(slots.take("c")), asyncio.ensure_future(slots.take("a"))
    await asyncio.sleep(0)
    slots.leave("b")
    await asyncio.wait_for(fourth, LONG)
    assert not third.done()
    slots.leave("a")
    await asyncio.wait_for(third, LONG)
    assert not fifth.done()
    slots.leave("a")
    await asyncio.wait_for(fifth, LONG)


async def test_keys_take_turns() -> None:
    slots = Slots(1, 1, LONG)
    await slots.take("a")
    order: list[str] = []

    async def work(key: str) -> None:
        await slots.take(key)
        order.append(key)
        slots.leave(key, succeeded=True)

    waiting = [asyncio.ensure_future(work(key)) for key in ("a", "a", "a", "b", "b", "c")]
    await asyncio.sleep(0)
    slots.leave("a", succeeded=True)
    await asyncio.gather(*waiting)
    assert sorted(order[:3]) == ["a", "b", "c"]


class Clock:
    """Stands still until somebody sets it: no test depends on how fast the machine is."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


async def test_a_line_that_moves_is_waited_in_and_one_that_stands_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("service.store.postgres.slots.time", clock)
    slots = Slots(2, 1, PATIENCE)
    await slots.take("moves")
    await slots.take("stands")
    moves, stands = asyncio.ensure_future(slots.take("moves")), asyncio.ensure_future(slots.take("stands"))
    second = asyncio.ensure_future(slots.take("moves"))
    await asyncio.sleep(0)
    clock.now = PATIENCE / 2
    slots.leave("moves", succeeded=True)
    await asyncio.wait_for(moves, LONG)
    clock.now = PATIENCE
    with pytest.raises(NoSlot):
        await asyncio.wait_for(stands, LONG)
    await asyncio.sleep(2 * PATIENCE)  # the other one looks at the clock as well, and stays
    assert not second.done()
    slots.leave("moves", succeeded=True)
    await asyncio.wait_for(second, LONG)


async def test_a_stuck_key_has_one_place_until_somebody_succeeds() -> None:
    slots = Slots(4, 3, LONG)
    await slots.take("a")
    slots.leave("a", was_stuck=True)
    await slots.take("a")
    with pytest.raises(NoSlot):
        await slots.take("a")
    slots.leave("a", succeeded=True)
    for _ in range(3):
        await asyncio.wait_for(slots.take("a"), LONG)


async def test_whoever_leaves_while_a_place_comes_gives_it_back() -> None:
    slots = Slots(1, 1, LONG)
    for when in ("before", "after"):
        await slots.take("a")
        waiting = asyncio.ensure_future(slots.take("a"))
        await asyncio.sleep(0)
        if when == "after":
            slots.leave("a")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if when == "before":
            slots.leave("a")
    await asyncio.wait_for(slots.take("a"), LONG)


async def test_the_end_turns_all_away() -> None:
    slots = Slots(1, 1, LONG)
    await slots.take("a")
    waiting = asyncio.ensure_future(slots.take("a"))
    await asyncio.sleep(0)
    slots.close()
    for one in (waiting, slots.take("b")):
        with pytest.raises(NoSlot):
            await one
    slots.leave("a")


async def test_threads_that_nobody_waits_for() -> None:
    daemons = DaemonThreads(2, "test")
    futures = [daemons.submit(partial(abs, -number)) for number in range(20)]
    assert await asyncio.gather(*map(asyncio.wrap_future, futures)) == [*range(20)]
    with pytest.raises(ZeroDivisionError):
        await asyncio.wrap_future(daemons.submit(lambda: 1 // 0))
    last = daemons.submit(lambda: "last")
    daemons.end()
    assert last.result(LONG) == "last"
    with pytest.raises(RuntimeError):
        daemons.submit(lambda: None)
