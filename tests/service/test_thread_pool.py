"""A pool has its threads from the start, and no more later."""

import threading

from service.thread_pool import thread_pool


def test_all_threads_are_there_before_there_is_work() -> None:
    before = threading.active_count()
    with thread_pool(3, "some") as pool:
        assert threading.active_count() == before + 3
        assert sum(pool.map(abs, range(-50, 0))) == 1275
        assert threading.active_count() == before + 3
    assert threading.active_count() == before
