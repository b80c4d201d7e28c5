"""State that a batcher shares with its lanes: the lock, whether anything is admitted, and the delivery of results.

Knows nothing of arrays, devices or HTTP, and uses only the standard library.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from service.engine.errors import Closed, DeviceLost


class Gate:
    """State that the lanes of one batcher share: their lock, whether anything is admitted, and how to announce work."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # guards the gate and the lanes
        self.wake = threading.Condition(self.lock)  # notified when there is work
        self.tell: Callable[[], None] = self.wake.notify  # called with the lock held after rows have arrived or left
        self.closed_because = ""  # the reason why nothing is admitted any more
        self.lost = ""  # the reason why the device is lost

    def check_open(self) -> None:
        """Raise DeviceLost or Closed if nothing is admitted any more."""
        if self.lost:
            raise DeviceLost(self.lost)
        if self.closed_because:
            raise Closed(self.closed_because)


class Outcome(Protocol):
    """What receives the results of a block, or the error that it has failed with: a future, or anything like one."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop on which the results are delivered."""

    def done(self) -> bool:
        """Return whether nobody waits for the results any more, or they have been delivered."""

    def set_result(self, result: Any, /) -> None:
        """Receive the results. Must not raise."""

    def set_exception(self, exception: Exception, /) -> None:
        """Receive the error. Must not raise."""


class BlockFuture(asyncio.Future[Any]):
    """The future of a submitted block.

    `then` is called on the event loop as soon as the future is done: one iteration of the loop earlier than callbacks are.
    """

    then: Callable[[], None] | None = None

    def set_result(self, result: Any) -> None:
        super().set_result(result)
        if self.then is not None:
            self.then()

    def set_exception(self, exception: type[BaseException] | BaseException) -> None:
        super().set_exception(exception)
        if self.then is not None:
            self.then()


class Delivery:
    """Collects results for the callers' event loop, so that it wakes up once per batch and not once per request."""

    def __init__(self) -> None:
        self._outcomes: list[tuple[Outcome, Any, Exception | None]] = []

    def add(self, future: Outcome, value: Any, error: Exception | None = None) -> None:
        self._outcomes.append((future, value, error))

    def send(self) -> None:
        """Resolve the futures from a worker's thread."""
        outcomes, self._outcomes = self._outcomes, []
        if not outcomes:
            return
        loop = outcomes[0][0].get_loop()
        if not loop.is_closed():  # nobody waits on a closed loop
            loop.call_soon_threadsafe(_resolve, outcomes)

    def hand_over(self) -> None:
        """Resolve the futures from the event loop itself."""
        outcomes, self._outcomes = self._outcomes, []
        _resolve(outcomes)


def _resolve(outcomes: Sequence[tuple[Outcome, Any, Exception | None]]) -> None:
    for future, value, error in outcomes:
        if future.done():  # its caller has cancelled it meanwhile
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
