"""Admission by pixels: who may wait beside whom, and when those who may not should come back."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from models.spatial_latents import SpatialLatents
from service.engine.errors import Overloaded
from service.inference.kinds import waiting_pixels
from service.inference.kinds.size_limits import RESERVED_PIXELS, SMALL_PIXELS, WAITING_PIXELS, SizeLimits
from service.inference.kinds.waiting_pixels import WaitingPixels

LIMITS = SizeLimits(SpatialLatents(4, 8, 1.0))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting_pixels, "time", clock)
    return clock


def test_few_large_requests_leave_room_for_others(stack: ExitStack) -> None:
    waiting = WaitingPixels(LIMITS, 512 * 512, 1e-6)
    large = LIMITS.request
    stack.enter_context(waiting.admission())(large)
    with pytest.raises(Overloaded):
        stack.enter_context(waiting.admission())(large)
    stack.enter_context(waiting.admission())(large // 2)  # half of what is free
    with pytest.raises(Overloaded):
        stack.enter_context(waiting.admission())(large // 4 + 1)
    stack.enter_context(waiting.admission())(large // 4)


def test_small_requests_have_a_reserve(stack: ExitStack) -> None:
    waiting = WaitingPixels(LIMITS, 32 * 32, 1e-6)
    stack.enter_context(waiting.admission())(WAITING_PIXELS)
    with pytest.raises(Overloaded):
        stack.enter_context(waiting.admission())(SMALL_PIXELS + 1)
    for _ in range(RESERVED_PIXELS // SMALL_PIXELS):
        stack.enter_context(waiting.admission())(SMALL_PIXELS)
    with pytest.raises(Overloaded):
        stack.enter_context(waiting.admission())(1)


def test_a_picture_of_the_own_size_is_small(stack: ExitStack) -> None:
    own = LIMITS.picture
    waiting = WaitingPixels(LIMITS, own, 1e-6)
    stack.enter_context(waiting.admission())(WAITING_PIXELS)
    stack.enter_context(waiting.admission())(own)
    with pytest.raises(Overloaded):
        stack.enter_context(waiting.admission())(own)


def test_a_request_that_is_alone_is_admitted_picture_by_picture(stack: ExitStack) -> None:
    waiting = WaitingPixels(LIMITS, 1024, 1e-6)
    admit = stack.enter_context(waiting.admission())
    for _ in range(12):
        admit(LIMITS.picture)
    stack.close()
    assert waiting.pixels == 0


def test_the_time_to_come_back_is_measured(stack: ExitStack, clock: Clock) -> None:
    waiting = WaitingPixels(LIMITS, 1024, 1e-6)

    def refused() -> int:
        with pytest.raises(Overloaded, match=r"they should be done in \d+ s") as caught, waiting.admission() as admit:
            admit(LIMITS.request)
        return caught.value.retry_after

    first = ExitStack()
    first.enter_context(waiting.admission())(20_000_000)
    assert refused() == 20  # as fast as at the start
    clock.now += 70
    assert refused() == 70  # longer than that
    second = ExitStack()
    second.enter_context(waiting.admission())(5_000_000)
    clock.now += 10
    first.close()  # 4 microseconds a pixel
    assert refused() == 20
    clock.now += 20
    second.close()
    assert waiting.pixels == 0
    stack.enter_context(waiting.admission())(25_000_000)
    assert refused() == 100


def test_a_request_that_fails_counts_for_nothing(stack: ExitStack, clock: Clock) -> None:
    waiting = WaitingPixels(LIMITS, 1024, 1e-6)
    failing = waiting.admission()
    failing.__enter__()(1_000_000)
    clock.now += 50
    assert not failing.__exit__(ValueError, ValueError(), None)
    stack.enter_context(waiting.admission())(20_000_000)
    with pytest.raises(Overloaded, match="20000000 pixels are waiting; they should be done in 20 s"):
        stack.enter_context(waiting.admission())(20_000_000)
