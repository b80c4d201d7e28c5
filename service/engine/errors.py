"""The errors of the engine.

BatcherError
  ├── TooLarge            more rows than one request may have
  ├── Overloaded          the queue is full now; says when to come back
  ├── Closed              shutting down
  ├── DeadlineExceeded    the caller's time was up before its rows were reached
  └── DeviceLost          raised by a batch function: nothing will work here any more
DeviceUnusable            there is no such device, or it does not work
DeviceStuck               a batch that does not come to its end
"""

import math


class BatcherError(Exception):
    """Rows that were not computed, for a reason that lies in the engine."""


class TooLarge(BatcherError):
    """More rows than one request may have: never admitted, however often it comes back."""

    def __init__(self, rows: int, max_rows: int) -> None:
        super().__init__(f"the request has {rows} items, at most {max_rows} are allowed in one")
        self.rows, self.max_rows = rows, max_rows


class Overloaded(BatcherError):
    """The queue is full; it should be empty in `seconds`, and a caller should come back after `retry_after` whole ones."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the queue is full; it should be empty in {seconds:.3f} s")
        self.seconds, self.retry_after = seconds, max(1, math.ceil(seconds))


class Closed(BatcherError):
    """Nothing is admitted any more."""


class DeadlineExceeded(BatcherError):
    """The deadline of the rows passed before a batch reached them."""


class DeviceLost(BatcherError):
    """The device is gone: everything that waits fails, and nothing more is admitted."""


class DeviceUnusable(Exception):
    """There is no such device, it does not work, or it cannot compute as it is asked to."""


class DeviceStuck(Exception):
    """A batch that does not come to its end."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"a batch has been running for {seconds:.0f} s, or nobody takes the next one")
