"""Daemon threads, for work that another machine may hold up: the process can exit without waiting for them.

Knows nothing of what the threads do.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class DaemonThreads:
    """A pool of at most `most` threads, started on demand. Python would join the threads of a ThreadPoolExecutor at exit."""

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._made = self._busy = 0
        self._is_ended = False

    def submit(self, task: Callable[[], T]) -> "Future[T]":
        """Run a task on one of the threads. Raises RuntimeError after `end`."""
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(task())
            except BaseException as error:  # whatever was raised, the caller must not wait for ever
                future.set_exception(error)

        with self._lock:
            if self._is_ended:
                raise RuntimeError("the threads have ended and take no more tasks")
            self._busy += 1
            if self._busy > self._made < self._most:
                self._made += 1
                threading.Thread(target=self._run, name=f"{self._name} {self._made}", daemon=True).start()
            self._work.put(work)
        return future

    def end(self) -> None:
        """Take no more tasks. The threads finish what was submitted and end; this does not wait for them."""
        with self._lock:
            self._is_ended = True
            for _ in range(self._made):
                self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            with self._lock:
                self._busy -= 1
