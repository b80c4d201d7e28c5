"""A pool has its threads from the start, and no more later; long work is done on one of them."""

import threading

import pytest

from service.thread_pool import INLINE_BYTES, Offload, thread_pool


def threads_of(name: str) -> int:
    """Return how many threads a pool has; those of earlier tests may still be ending."""
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


def test_all_threads_are_there_before_there_is_work() -> None:
    with thread_pool(3, "some pool") as pool:
        assert threads_of("some pool") == 3
        assert sum(pool.map(abs, range(-50, 0))) == 1275
        assert threads_of("some pool") == 3
    assert threads_of("some pool") == 0


@pytest.mark.parametrize(("size", "inline"), [(INLINE_BYTES, True), (INLINE_BYTES + 1, False)])
async def test_long_work_leaves_the_event_loop(size: int, inline: bool) -> None:
    offload = Offload()
    thread = await offload(size, threading.current_thread)
    assert (thread is threading.current_thread()) == inline
    with pytest.raises(ZeroDivisionError):
        await offload(size, lambda: 1 // 0)
    offload.close()
