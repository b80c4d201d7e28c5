"""How long the rows of a request waited and were computed, and, where it is traced, when.

Knows nothing of requests or HTTP.
"""

import time
from dataclasses import dataclass
from typing import Protocol


class Passed(Protocol):
    """Rows that have gone through a lane. Moments are in the time of `time.monotonic`."""

    first_submitted: float
    last_submitted: float
    queue_seconds: float
    compute_seconds: float


@dataclass(frozen=True, slots=True)
class Pass:
    """When a request's rows went through a lane: submitted, first taken by a batch, done."""

    submitted: float
    last_submitted: float  # of several blocks
    taken: float
    done: float


@dataclass(slots=True)
class Timings:
    """Seconds that the rows of a request waited, and that their batches took."""

    queue: float = 0.0
    compute: float = 0.0
    passes: list[Pass] | None = None  # kept where there is a list

    def add(self, passed: Passed) -> None:
        """Count a reservation whose rows are done now."""
        self.queue += passed.queue_seconds
        self.compute += passed.compute_seconds
        if self.passes is not None:
            taken = passed.first_submitted + passed.queue_seconds
            self.passes.append(Pass(passed.first_submitted, passed.last_submitted, taken, time.monotonic()))
