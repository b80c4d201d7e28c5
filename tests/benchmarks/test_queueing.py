import pytest

from benchmarks.queueing import BatchTimes, replicas_for, simulate

ONE = BatchTimes((1,), (1.0,))  # one request at a time
MANY = BatchTimes((1, 2, 4, 8), (1.0, 1.2, 1.6, 2.4))


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_at_a_time_is_the_formula_of_pollaczek_and_khinchine(load: float) -> None:
    expected = 1 + load / (2 * (1 - load))  # the mean latency of M/D/1, in service times
    assert simulate(ONE, 1, load, 100_000).mean == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_waking_is_the_formula_of_welch(load: float) -> None:
    # P. D. Welch, "On a generalized M/G/1 queuing process in which the first customer of each busy period receives
    # exceptional service", Operations Research 12 (1964)
    waking = BatchTimes((1,), (1.0,), (0.5, 1.5))
    first, first_squared = 2.0, (1.5**2 + 2.5**2) / 2  # means of the time of a first customer, and of its square
    idle = 1 - load + load * first
    waiting = load / (2 * (1 - load)) + load * (first_squared - 1) / (2 * idle)
    service = 1 + (1 - load) / idle * (first - 1)
    assert simulate(waking, 1, load, 200_000).mean == pytest.approx(waiting + service, rel=0.05)


def test_random_replicas_are_as_many_queues() -> None:
    alone, ten = simulate(ONE, 1, 0.6, 100_000), simulate(ONE, 10, 6.0, 100_000)
    assert ten.mean == pytest.approx(alone.mean, rel=0.05)


def test_the_replica_with_the_fewest_requests_is_faster() -> None:
    random, fewest = (simulate(ONE, 10, 8.0, 50_000, way).percentile(99) for way in ("random", "least"))
    assert fewest < 0.7 * random


def test_batches_serve_more_than_single_requests_could() -> None:
    assert MANY.capacity == pytest.approx(8 / 2.4)
    assert [MANY.of(size) for size in (1, 3, 8)] == pytest.approx([1.0, 1.4, 2.4])
    latencies = simulate(MANY, 1, 2.5, 50_000)  # One at a time, 1.0 a second is the most.
    assert latencies.sorted[0] >= 1.0
    assert latencies.percentile(50) < 2 * 2.4  # the rest of a batch, and the next one


def test_nobody_is_lost() -> None:
    assert len(simulate(MANY, 3, 5.0, 1000).sorted) == 900  # The first tenth does not count.


def test_more_than_all_replicas_can_serve_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3\.4 requests a second are more than 1 x 3 can serve"):
        simulate(MANY, 1, 3.4, 100)


def test_the_smallest_number_of_replicas() -> None:
    count = replicas_for(MANY, 20.0, 3.0, 20_000)
    assert count is not None
    assert simulate(MANY, count, 20.0, 20_000).percentile(99) <= 3.0
    assert count == 7 or simulate(MANY, count - 1, 20.0, 20_000).percentile(99) > 3.0
    assert replicas_for(MANY, 20.0, 0.9, 20_000) is None  # less than one batch takes


def test_replicas_that_are_idle_may_be_slower() -> None:
    waking = BatchTimes((1, 64), (1.0, 1.0), (10.0,))
    assert replicas_for(waking, 20.0, 5.0, 20_000) == 1  # A thousand would all be asleep, and need 11.
