"""RefusalPace are answered at once while they are few, and take turns when they are many."""

import asyncio
import time

import pytest

from service.http.access.refusal_pace import LONGEST_SECONDS, RefusalPace


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, on a clock that stands still."""
    seconds: list[float] = []

    async def note(wait: float) -> None:
        seconds.append(wait)

    monkeypatch.setattr(asyncio, "sleep", note)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    return seconds


async def test_a_lone_refusal_does_not_wait(waits: list[float]) -> None:
    await RefusalPace(10).turn()
    assert waits == []


async def test_a_flood_of_them_keeps_the_pace(waits: list[float]) -> None:
    pace = RefusalPace(10)
    for _ in range(4):
        await pace.turn()
    assert waits == pytest.approx([0.1, 0.2, 0.3])


async def test_nobody_waits_longer_than_the_longest(waits: list[float]) -> None:
    pace = RefusalPace(2 / LONGEST_SECONDS)
    for _ in range(5):
        await pace.turn()
    assert waits == pytest.approx([LONGEST_SECONDS / 2, LONGEST_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS])


async def test_after_a_pause_they_are_few_again(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    pace = RefusalPace(10)
    for _ in range(3):
        await pace.turn()
    waits.clear()
    monkeypatch.setattr(time, "monotonic", lambda: 200.0)
    await pace.turn()
    assert waits == []
