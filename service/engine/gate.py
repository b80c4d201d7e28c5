"""What workers and their lanes share: the lock, whether anything is admitted, and results on their way out.

Knows nothing of arrays, devices or HTTP; standard library only.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from service.engine.errors import Closed, DeviceLost


class Gate:
    """What the lanes of one batcher share: their lock, whether anything is admitted, and whom to tell of work."""

    def __init__(self) -> None:
        self.wake = threading.Condition(threading.Lock())  # guards the gate and the lanes; notified when there is work
        self.tell: Callable[[], None] = self.wake.notify  # called with the lock held, when rows have come or gone
        self.closed_because = ""  # why nothing is admitted any more
        self.lost = ""  # why the device is gone

    def check_open(self) -> None:
        """Raises DeviceLost or Closed when nothing is admitted any more."""
        if self.lost:
            raise DeviceLost(self.lost)
        if self.closed_because:
            raise Closed(self.closed_because)


class Delivery:
    """Results on their way to the callers' event loop: one wake-up a batch, not one a request."""

    def __init__(self) -> None:
        self._outcomes: list[tuple[asyncio.Future[Any], Any, Exception | None]] = []

    def add(self, future: "asyncio.Future[Any]", value: Any, error: Exception | None = None) -> None:
        self._outcomes.append((future, value, error))

    def send(self) -> None:
        """From a worker's thread."""
        outcomes, self._outcomes = self._outcomes, []
        if not outcomes:
            return
        loop = outcomes[0][0].get_loop()
        if not loop.is_closed():  # a closed loop has nobody left who waits
            loop.call_soon_threadsafe(_resolve, outcomes)

    def hand_over(self) -> None:
        """From the event loop itself."""
        outcomes, self._outcomes = self._outcomes, []
        _resolve(outcomes)


def _resolve(outcomes: "Sequence[tuple[asyncio.Future[Any], Any, Exception | None]]") -> None:
    for future, value, error in outcomes:
        if future.done():  # cancelled meanwhile
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
