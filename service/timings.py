"""Times of a request in the engine: how long its rows waited and were computed, and, if it is traced, when.

Knows nothing of models.
"""

import time
from dataclasses import dataclass
from typing import Protocol


class Passed(Protocol):
    """Times of rows that have gone through a lane. Moments are those of `time.monotonic`."""

    first_submitted: float
    last_submitted: float
    queue_seconds: float
    compute_seconds: float


@dataclass(frozen=True, slots=True)
class Pass:
    """Moments at which a request's rows went through a lane: submitted, first taken by a batch, done."""

    submitted: float
    last_submitted: float  # differs from `submitted` if there were several blocks
    taken: float
    done: float


# The header Server-Timing: milliseconds that the rows of a request waited, and that they took.
SERVER_TIMING = "queue;dur=%.3f, compute;dur=%.3f"


@dataclass(slots=True)
class Timings:
    """Seconds that the rows of a request waited, and seconds that their batches took."""

    queue: float = 0.0
    compute: float = 0.0
    passes: list[Pass] | None = None  # recorded only if there is a list

    @property
    def header(self) -> str:
        """The value of the header Server-Timing."""
        return SERVER_TIMING % (self.queue * 1e3, self.compute * 1e3)

    def add(self, passed: Passed) -> None:
        """Add the times of rows that are done now."""
        self.queue += passed.queue_seconds
        self.compute += passed.compute_seconds
        if self.passes is not None:
            taken = passed.first_submitted + passed.queue_seconds
            self.passes.append(Pass(passed.first_submitted, passed.last_submitted, taken, time.monotonic()))
