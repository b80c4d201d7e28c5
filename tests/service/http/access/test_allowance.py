"""The allowance of a caller, on a clock of the test's own."""

import pytest

from service.http.access.allowance import Allowance, ConcurrencyExceeded, RateExceeded


class Clock:
    """Stands still until it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def served(allowance: Allowance, asked: int) -> int:
    """Return how many of so many requests, one after the other, are served."""
    count = 0
    for _ in range(asked):
        try:
            allowance.enter()
        except RateExceeded:
            continue
        allowance.leave()
        count += 1
    return count


def test_no_limits() -> None:
    assert served(Allowance("a", 0, 0, 0), 1000) == 1000


@pytest.mark.parametrize(("rate", "burst", "at_once"), [(10, 0, 10), (10, 3, 3), (0.5, 2, 2), (0.5, 4, 4)])
def test_a_burst_and_then_the_rate(rate: float, burst: int, at_once: int) -> None:
    clock = Clock()
    allowance = Allowance("a", rate, burst, 0, clock)
    assert served(allowance, 100) == at_once
    clock.now += 1.5 / rate
    assert served(allowance, 100) == 1
    clock.now += 0.75 / rate  # with the half that was left
    assert served(allowance, 100) == 1
    clock.now += 1e6
    assert served(allowance, 100) == at_once


@pytest.mark.parametrize(("rate", "seconds"), [(10, 1), (0.5, 2), (0.1, 10)])
def test_it_says_when_the_next_is_allowed(rate: float, seconds: int) -> None:
    clock = Clock()
    allowance = Allowance("a", rate, 1, 0, clock)
    allowance.enter()
    with pytest.raises(RateExceeded) as caught:
        allowance.enter()
    assert caught.value.retry_after == seconds
    clock.now += seconds
    allowance.enter()


def test_a_bucket_holds_at_least_one_request() -> None:
    assert served(Allowance("a", 0.5, 0, 0, Clock()), 100) == 1


def test_so_many_at_a_time() -> None:
    allowance = Allowance("a", 0, 1, 2, Clock())
    allowance.enter()
    allowance.enter()
    for _ in range(3):
        with pytest.raises(ConcurrencyExceeded):
            allowance.enter()
    allowance.leave()
    allowance.enter()
    assert allowance.in_flight == 2


def test_what_is_refused_for_one_reason_costs_nothing_of_the_other() -> None:
    clock = Clock()
    allowance = Allowance("a", 1, 2, 1, clock)
    allowance.enter()
    with pytest.raises(ConcurrencyExceeded):
        allowance.enter()
    allowance.leave()
    assert served(allowance, 5) == 1  # of the two tokens one is left
    assert allowance.in_flight == 0
