"""Thread pools that start all their threads at once. Knows nothing of what the threads do."""

import threading
from concurrent.futures import ThreadPoolExecutor


def thread_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Return a pool with all its threads started. One that starts them on demand would use more memory after a busy hour."""
    pool, together = ThreadPoolExecutor(threads, name), threading.Barrier(threads)
    for _ in range(threads):
        pool.submit(together.wait)  # each call occupies a thread until all threads have started
    return pool
