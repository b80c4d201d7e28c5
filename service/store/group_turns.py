"""A thread that handles all waiting requests together: one commit for many writers, one scan for many searches.

Knows nothing of what the requests are.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Ended(Exception):
    """The thread takes no more requests."""


@dataclass(slots=True, eq=False)
class Waiting(Generic[T]):
    """A waiting request and the future of its result."""

    request: T
    future: "Future[Any]" = field(default_factory=Future)

    def settle(self, outcome: Any) -> None:
        """Give the request its result, or raise it there if it is an exception."""
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Turns(Generic[T]):
    """Whenever the thread is free it calls `work` with all waiting requests, at most `most`.

    `work` settles their futures. Those that it leaves open get the error that it raised.
    """

    def __init__(self, name: str, work: Callable[[Sequence[Waiting[T]]], None], most: int) -> None:
        self._work, self._most = work, most
        self._changed = threading.Condition()
        self._waiting: list[Waiting[T]] = []
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def submit(self, request: T) -> "Future[Any]":
        """Queue a request for the next turn. Raises Ended."""
        waiting = Waiting(request)
        with self._changed:
            if self._ended:
                raise Ended
            if self._thread.ident is None:  # it has not been started
                self._thread.start()
            self._waiting.append(waiting)
            self._changed.notify()
        waiting.future.add_done_callback(lambda future: self._forget(waiting) if future.cancelled() else None)
        return waiting.future

    def _forget(self, waiting: Waiting[T]) -> None:
        """Drop a cancelled request at once, so that its memory is not kept until its turn."""
        with self._changed, suppress(ValueError):
            self._waiting.remove(waiting)

    def end(self, seconds: float | None = None) -> bool:
        """Handle what waits, then end the thread. Wait for that, `seconds` at most; return whether it has ended."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                turn, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not turn:
                return
            turn = [waiting for waiting in turn if waiting.future.set_running_or_notify_cancel()]
            error: BaseException = RuntimeError("a turn ended without a result for this request")
            try:
                self._work(turn)
            except BaseException as raised:  # whatever was raised, no caller may wait for ever
                error = raised
            for waiting in turn:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
