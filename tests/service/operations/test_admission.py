"""The estimate of when to try again."""

import time

import pytest

from service.engine.errors import Overloaded
from service.operations.admission import Admission


def test_work_that_says_how_far_it_is_leaves_less_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    places = Admission(256, "the places of regret (256 pictures at a time)")
    with places.admit(128) as one, places.admit(128) as other:
        now = 30.0
        one(0.75)
        other(0.75)
        with pytest.raises(Overloaded) as caught, places.admit(1):
            pass
    assert caught.value.seconds == pytest.approx(10)
    wanted = "the places of regret (256 pictures at a time) are taken; they should be free in 10 s, so try again then"
    assert (str(caught.value), caught.value.retry_after, places.rows) == (wanted, 10, 0)


def test_work_that_says_nothing_is_done_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    queue = Admission(4)
    with queue.admit(4):
        now = 2.0
    with (
        queue.admit(3),
        pytest.raises(Overloaded, match="the queue is full; it should be empty in 2 s") as caught,
        queue.admit(2),
    ):
        pass
    assert caught.value.seconds == pytest.approx(1.5)
