"""Histograms: buckets as Prometheus has them, whatever comes, however many at a time, from any thread."""

import math
import threading

import numpy as np
import pytest

from service.observe.histogram import WAITING, Counted, Histogram


@pytest.mark.parametrize("many", [False, True])
def test_a_bound_belongs_to_the_bucket_below_it(many: bool) -> None:
    histogram = Histogram((-1.0, 0.0, 2.5))
    values = [-2.0, -1.0, -0.5, 0.0, 2.5, 2.6]
    if many:
        histogram.observe_all(values)
    else:
        for value in values:
            histogram.observe(value)
    assert histogram.read() == Counted((-1.0, 0.0, 2.5), (2, 2, 1, 1), sum(values))


def test_what_is_no_number_is_counted_and_does_not_spoil_the_sum() -> None:
    histogram = Histogram((1.0,))
    histogram.observe_all([math.nan, math.inf, -math.inf, 0.5])
    assert histogram.read() == Counted((1.0,), (2, 2), 0.5)


def test_it_equals_numpy_for_many_values_however_they_come() -> None:
    values = np.random.default_rng(0).normal(10, 5, 3 * WAITING + 7)
    bounds = tuple(float(bound) for bound in range(0, 21, 2))
    histogram = Histogram(bounds)
    histogram.observe_all(values[:WAITING].tolist())
    for value in values[WAITING:].tolist():
        histogram.observe(value)
    expected, _ = np.histogram(-values, [-math.inf, *(-bound for bound in reversed(bounds)), math.inf])
    found = histogram.read()
    assert found.counts == tuple(expected[::-1])
    assert found.sum == pytest.approx(values.sum())
    assert histogram.read() == found


def test_nothing_is_lost_between_threads() -> None:
    histogram = Histogram((0.5,))

    def feed() -> None:
        for _ in range(5000):
            histogram.observe(1.0)

    threads = [threading.Thread(target=feed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert histogram.read() == Counted((0.5,), (0, 20000), 20000.0)
