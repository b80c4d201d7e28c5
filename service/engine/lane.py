"""A queue of rows for one batch function: admission, forming batches, and handling failed batches.

Limits count rows, not requests; admission is all or nothing. Knows nothing of threads beyond their lock, of arrays, devices
or HTTP, and uses only the standard library.
"""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.engine.errors import DeadlineExceeded, DeviceLost, Overloaded, TooLarge
from service.engine.fair_queue import Block, FairQueue, QueuedRequest, Ticket
from service.engine.gate import Delivery, Gate, Outcome
from service.engine.reservation import Reservation

log = logging.getLogger(__name__)

# Weight of the newest batch in the running mean of batch durations.
NEWEST = 0.2


@dataclass(frozen=True)
class LaneConfig:
    """A batch function, and the limits of its queue in rows."""

    run: Callable[[list[Any]], list[Any]]  # takes blocks, together at most `max_batch` rows; returns as many blocks
    join: Callable[[list[Any]], Any]  # concatenates the parts of a split block
    max_batch: int
    max_queue_rows: int
    max_rows: int
    seconds: Callable[[int], float] = lambda rows: math.inf  # estimates how long `run` takes for a number of rows
    padding: Callable[[int], int] = lambda rows: 0  # returns how many rows `run` adds to a number of rows
    engine: str = ""  # what computes `run`, for those who ask


@dataclass
class LaneStats:
    """Counters of a lane since it was made."""

    rows: int = 0
    padded_rows: int = 0  # padding that was computed to fill up batches
    batches: int = 0
    dropped_rows: int = 0
    rejected_rows: int = 0
    expired_rows: int = 0  # the dropped rows whose deadline had passed
    queue_full_rows: int = 0  # the rejected rows that found the queue full


@dataclass(slots=True)
class SizeStats:
    """How many batches of one size a lane has run, and the seconds that they took."""

    batches: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchReport:
    """Measurements and results of a batch that has run."""

    rows: int
    padded_rows: int
    seconds: float
    waits: list[float]  # seconds in the queue, of each block whose first rows are in this batch
    results: list[Any]  # the rows of each block, or an exception


@dataclass(slots=True)
class _Slice:
    """Rows of one ticket in one batch."""

    ticket: Ticket
    rows: Block


class Lane:
    """A queue of rows for one batch function. Made by `Batcher.lane`."""

    def __init__(self, gate: Gate, seconds_to_drain: Callable[[], float], config: LaneConfig) -> None:
        self.max_batch, self.max_queue_rows, self.max_rows = config.max_batch, config.max_queue_rows, config.max_rows
        if not 0 < self.max_batch <= self.max_queue_rows or not 0 < self.max_rows <= self.max_queue_rows:
            raise ValueError("max_batch and max_rows must be positive and at most max_queue_rows")
        self.engine = config.engine
        self.stats = LaneStats()
        self.sizes: defaultdict[int, SizeStats] = defaultdict(SizeStats)  # by rows without padding
        self.queued_rows = 0  # admitted and not yet taken by a batch, submitted or still to be submitted
        self.waiting_rows = 0  # the part of the queued rows that is submitted
        self.seconds_per_batch = 0.0
        self.turns = 1.0  # how often a row is computed on average, of requests whose rows are submitted again
        self.watch: Callable[[BatchReport], None] | None = None  # called after every batch, on the thread that ran it
        self._gate, self._seconds_to_drain = gate, seconds_to_drain
        self._run, self._join, self._seconds, self._padding = config.run, config.join, config.seconds, config.padding
        self._queue = FairQueue()

    async def submit(self, block: Block, deadline: float | None = None) -> Any:
        """Compute rows and return the results in the same order. Raise BatcherError, or what the batch function raises."""
        with self.reserve(len(block)) as reservation:
            return await reservation.submit(block, deadline)

    def reserve(self, rows: int, again: bool = False) -> Reservation:
        """Admit so many rows, all or none, before they are decoded. Raise TooLarge, Overloaded, Closed or DeviceLost.

        `again`: they stay admitted until the block ends, and may be submitted again once they are computed.
        """
        if rows <= 0:
            raise ValueError("a block has at least one row")
        with self._gate.lock:
            self._gate.check_open()
            if rows > self.max_rows:
                self.stats.rejected_rows += rows
                raise TooLarge(rows, self.max_rows)
            if self.queued_rows + rows > self.max_queue_rows:
                self.stats.rejected_rows += rows
                self.stats.queue_full_rows += rows
                raise Overloaded(self._seconds_to_drain())
            self.queued_rows += rows
        return Reservation(self, rows, again)

    def enqueue(self, block: Block, request: QueuedRequest, outcome: Outcome) -> Ticket | None:
        """Admit the rows of a request that has just one block, and queue them. Return None if `reserve` would refuse them."""
        ticket, rows = Ticket(block, outcome, request, None, time.monotonic()), len(block)
        with self._gate.lock:
            if self._gate.closed_because or rows > min(self.max_rows, self.max_queue_rows - self.queued_rows):
                return None
            self.queued_rows += rows
            self.put(ticket)
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Forget a ticket whose caller is gone."""
        with self._gate.lock:
            self.drop(ticket)

    def join(self, parts: list[Any]) -> Any:
        """Return the results of a block, which batches may have computed in several parts."""
        return parts[0] if len(parts) == 1 else self._join(parts)

    # The methods below run while the gate's lock is held.

    def put(self, ticket: Ticket) -> None:
        """Append a ticket whose rows were admitted."""
        self._queue.put(ticket)
        self.waiting_rows += len(ticket.block)
        self._gate.tell()

    def is_short(self, limit: float) -> bool:
        """Return whether the next batch is known to take at most `limit` seconds."""
        return self._seconds(min(self.waiting_rows, self.max_batch)) <= limit

    def drop(self, ticket: Ticket) -> None:
        """Forget a ticket whose caller is gone; its rows in the running batch are computed all the same."""
        if self._queue.remove(ticket):
            self._count_dropped(ticket)
            self._gate.tell()  # a closing worker waits for the last admitted row

    def _count_dropped(self, ticket: Ticket) -> None:
        self.stats.dropped_rows += ticket.waiting
        self.queued_rows -= ticket.waiting
        self.waiting_rows -= ticket.waiting

    def next_batch(self, deliver: "Delivery") -> Callable[[], DeviceLost | None] | None:
        """Return a function that runs the next batch, or None if nothing waits."""
        now = time.monotonic()
        fits = self.waiting_rows <= self.max_batch
        shares, pointless = self._queue.take_all(now) if fits else self._queue.take(self.max_batch, now)
        for ticket in pointless:
            self.stats.expired_rows += 0 if ticket.future.done() else ticket.waiting
            self._count_dropped(ticket)
            deliver.add(ticket.future, None, DeadlineExceeded("the deadline passed while the request was waiting"))
        if not shares:
            return None
        slices, waits = [], []
        for ticket, rows in shares.items():
            if ticket.taken == 0:
                waits.append(now - ticket.arrived)
                ticket.request.queue_seconds = max(ticket.request.queue_seconds, waits[-1])
            whole = rows == len(ticket.block)
            slices.append(_Slice(ticket, ticket.block if whole else ticket.block[ticket.taken : ticket.taken + rows]))
            ticket.taken += rows
            self.queued_rows -= rows
            self.waiting_rows -= rows
        return lambda: self._compute(slices, waits, deliver)

    def fail(self, error: Exception, deliver: "Delivery") -> None:
        """Fail everything that waits."""
        for ticket in self._queue.clear():
            self._count_dropped(ticket)
            deliver.add(ticket.future, None, error)

    # The methods below run without the lock, on the thread that runs the batch.

    def _compute(self, slices: list[_Slice], waits: list[float], deliver: "Delivery") -> DeviceLost | None:
        started = time.monotonic()
        try:
            results = self._run_or_halve(slices)
        except BaseException as error:  # it is not an Exception, so the thread is about to end
            for part in slices:
                deliver.add(part.ticket.future, None, DeviceLost(f"the batching thread died: {error!r}"))
            raise
        seconds = time.monotonic() - started
        rows = sum(len(part.rows) for part in slices)
        padded_rows = self._padding(rows)
        if self.watch is not None:
            self._tell_of(BatchReport(rows, padded_rows, seconds, waits, results))
        with self._gate.lock:
            self.stats.batches += 1
            self.stats.rows += rows
            self.stats.padded_rows += padded_rows
            size = self.sizes[rows]
            size.batches += 1
            size.seconds += seconds
            mean = self.seconds_per_batch
            self.seconds_per_batch = mean + NEWEST * (seconds - mean) if mean else seconds
            for part, result in zip(slices, results, strict=True):
                ticket = part.ticket
                ticket.request.compute_seconds += seconds
                if isinstance(result, Exception):
                    if self._queue.remove(ticket):  # the other rows of a failed block are not needed any more
                        self._count_dropped(ticket)
                    deliver.add(ticket.future, None, result)
                    continue
                ticket.parts.append(result)
                if ticket.kept is not None:
                    ticket.kept(len(result))
                if len(result) == len(ticket.block) or sum(len(p) for p in ticket.parts) == len(ticket.block):
                    deliver.add(ticket.future, ticket.parts)
            return next((result for result in results if isinstance(result, DeviceLost)), None)

    def _tell_of(self, batch: BatchReport) -> None:
        try:
            if self.watch is not None:
                self.watch(batch)
        except Exception:  # a defect in the observer must not fail a batch
            log.exception("the observer of batches raised an exception and is not called any more")
            self.watch = None

    def _run_or_halve(self, slices: list[_Slice]) -> list[Any]:
        """Run a batch. Return a result or an exception for each slice."""
        result = self._attempt(slices)
        return self._halve(slices, result) if isinstance(result, Exception) else result

    def _halve(self, slices: list[_Slice], error: Exception) -> list[Any]:
        """Run a failed batch again in halves, to find the request that failed it and to save the others."""
        if len(slices) == 1 or isinstance(error, DeviceLost):
            return [error] * len(slices)
        halves = slices[: len(slices) // 2], slices[len(slices) // 2 :]
        attempts = [self._attempt(half) for half in halves]
        lost = next((attempt for attempt in attempts if isinstance(attempt, DeviceLost)), None)
        if lost is not None:
            return [lost] * len(slices)
        first, second = attempts
        if isinstance(first, Exception) and type(first) is type(second) and str(first) == str(second):
            return [first] * len(slices)  # the same error in both halves is not the fault of one bad request
        results: list[Any] = []
        for half, attempt in zip(halves, attempts, strict=True):
            results += self._halve(half, attempt) if isinstance(attempt, Exception) else attempt
        return results

    def _attempt(self, slices: list[_Slice]) -> "list[Any] | Exception":
        try:
            outputs = self._run([part.rows for part in slices])
            if [len(rows) for rows in outputs] != [len(part.rows) for part in slices]:
                raise RuntimeError("a batch function must return as many rows as it was given, block by block")
        except StopIteration as error:  # a future refuses to hold a StopIteration
            return RuntimeError(f"StopIteration: {error}")
        except Exception as error:
            return error
        return outputs
