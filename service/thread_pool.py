"""Pools whose threads are all there from the start. Knows nothing of what they do."""

import threading
from concurrent.futures import ThreadPoolExecutor


def thread_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool that a busy hour leaves as it was: one that grows when it must would keep what it has grown to."""
    pool, together = ThreadPoolExecutor(threads, name), threading.Barrier(threads)
    for _ in range(threads):
        pool.submit(together.wait)  # each holds a thread until all are there
    return pool
