"""The errors of the engine.

BatcherError
  ├── TooLarge            more rows than one request may have
  ├── Overloaded          the queue is full; says when to retry
  ├── Closed              the engine is shutting down
  ├── DeadlineExceeded    the deadline passed before a batch took the rows
  └── DeviceLost          the device has failed for good; only a restart helps
DeviceUnusable            the device does not exist or does not work
DeviceStuck               a batch does not finish
NotFinite                 a function answers NaN or infinite numbers to ordinary rows
"""

import math


class BatcherError(Exception):
    """Rows were not computed, for a reason that lies in the engine."""


class TooLarge(BatcherError):
    """A request has more rows than allowed; retrying does not help."""

    def __init__(self, rows: int, max_rows: int, counted: bool = True) -> None:
        found = rows if counted else f"more than {max_rows}"
        super().__init__(f"the request has {found} items, at most {max_rows} are allowed in one request")
        self.rows, self.max_rows = rows, max_rows


class Overloaded(BatcherError):
    """The queue is full. It should be empty in `seconds`; a caller should retry after `retry_after` whole seconds.

    `full` says what is full, if it is not the queue of a device or of the store, and when it will not be.
    """

    def __init__(self, seconds: float, full: str = "the queue is full; it should be empty") -> None:
        self.seconds, self.retry_after = seconds, max(1, math.ceil(seconds))
        super().__init__(f"{full} in {self.retry_after} s, so try again then")


class Closed(BatcherError):
    """The engine admits nothing more, because it is shutting down."""


class DeadlineExceeded(BatcherError):
    """The deadline passed before a batch took the rows."""


class DeviceLost(BatcherError):
    """The device has failed for good: everything that waits fails, and nothing more is admitted."""


class DeviceUnusable(Exception):
    """The device does not exist, does not work, or cannot compute as configured."""


class DeviceStuck(Exception):
    """A batch does not finish."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"a batch has been running for {seconds:.0f} s, or the next one has not been started for so long")


class NotFinite(RuntimeError):
    """A function answers NaN or infinite numbers to ordinary rows, so nobody could use its answers."""

    def __init__(self, what: str, bad: int, numbers: int) -> None:
        super().__init__(
            f"{bad} of the {numbers} numbers that {what} are NaN or infinite; its weights are damaged, or too large for the "
            "precision of the service, so train or download it again"
        )
