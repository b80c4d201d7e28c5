"""Rows of one request that a lane has admitted, before they are submitted. Knows nothing of arrays, devices or HTTP."""

import asyncio
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any

from service.engine.errors import DeviceLost
from service.engine.fair_queue import Block, Ticket
from service.engine.gate import BlockFuture

if TYPE_CHECKING:
    from service.engine.lane import Lane


class Reservation:
    """Admitted rows of one request, to be submitted in one block or several. Leaving the block gives back the rest."""

    def __init__(self, lane: "Lane", rows: int, again: bool = False) -> None:
        self._lane, self._unsubmitted = lane, rows
        self._kept = self._keep if again else None
        self._ended = False
        self.tickets: deque[Ticket] = deque()  # blocks with rows that no batch has taken yet
        self.queue_seconds = 0.0  # longest wait of a block for its first batch
        self.compute_seconds = 0.0  # duration of all batches that held rows of this request
        self.first_submitted = 0.0  # in the time of `time.monotonic`
        self.last_submitted = 0.0

    async def submit(self, block: Block, deadline: float | None = None) -> Any:
        """Compute these rows. `deadline` is in the time of `time.monotonic`. Raise the same errors as `Lane.submit`."""
        lane, gate = self._lane, self._lane._gate
        future = BlockFuture(loop=asyncio.get_running_loop())
        self.last_submitted = now = time.monotonic()
        self.first_submitted = self.first_submitted or now
        ticket, rows = Ticket(block, future, self, deadline, now, kept=self._kept), len(block)
        with gate.lock:
            if not 0 < rows <= self._unsubmitted:
                raise ValueError(f"{rows} rows were submitted, but only {self._unsubmitted} are reserved")
            if gate.lost:
                raise DeviceLost(gate.lost)
            self._unsubmitted -= rows
            lane.put(ticket)
        try:
            parts = await future
        except asyncio.CancelledError:
            lane.withdraw(ticket)
            raise
        return lane.join(parts)

    def _keep(self, rows: int) -> None:
        """Count rows that were computed as admitted once more. Called with the gate's lock held."""
        if not self._ended:
            self._unsubmitted += rows
            self._lane.queued_rows += rows

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if not self._unsubmitted and self._kept is None:
            return
        with self._lane._gate.lock:
            self._ended = True
            self._lane.queued_rows -= self._unsubmitted
            if kind is asyncio.CancelledError:  # the caller left before its rows were decoded
                self._lane.stats.dropped_rows += self._unsubmitted
            self._unsubmitted = 0
            self._lane._gate.tell()  # a closing worker waits for the last admitted row
