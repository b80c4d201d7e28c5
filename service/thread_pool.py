"""Thread pools that start all their threads at once. Knows nothing of what the threads do."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Parsing or writing so many bytes takes about a millisecond.
INLINE_BYTES = 1 << 18


def thread_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Return a pool with all its threads started. One that starts them on demand would use more memory after a busy hour."""
    pool, together = ThreadPoolExecutor(threads, name), threading.Barrier(threads)
    for _ in range(threads):
        pool.submit(together.wait)  # each call occupies a thread until all threads have started
    return pool


class Offload:
    """Runs work that would hold the event loop up on one of a few threads."""

    def __init__(self, threads: int = 2) -> None:
        self._pool = thread_pool(threads, "offload")

    async def __call__(self, size: int, work: Callable[[], T]) -> T:
        """Return the result of `work`; a thread does it when its `size`, the bytes that go in or out, is large."""
        if size <= INLINE_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """End the threads without waiting: nobody needs the results of work that still runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
