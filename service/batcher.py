"""Dynamic batching of any function of blocks of rows: whatever waits when the worker is free forms the next batch.

One thread runs one batch at a time, for all lanes in turn. There is no timer and no polling: an idle worker runs a lone row
at once, a busy one finds the next batch waiting. Limits count rows, admission is all or nothing, and every path resolves
every future. Knows nothing of arrays, devices or HTTP; standard library only.

    BatcherError
      ├── TooLarge            more rows than one request may have
      ├── Overloaded          the queue is full now; says when to come back
      ├── Closed              shutting down, or the device is lost
      ├── DeadlineExceeded    the caller's time was up before its rows were reached
      └── DeviceLost          raised by a batch function: nothing will work here any more
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

# weight of the newest batch in the running mean of the time that a batch takes
NEWEST = 0.2


class Block(Protocol):
    """Rows: anything with a length and slices, such as an array."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Any: ...


class BatcherError(Exception):
    """Rows that were not computed, for a reason that lies in the engine."""


class TooLarge(BatcherError):
    """More rows than one request may have: never admitted, however often it comes back."""

    def __init__(self, rows: int, max_rows: int) -> None:
        super().__init__(f"the request has {rows} items, at most {max_rows} are allowed in one")
        self.rows, self.max_rows = rows, max_rows


class Overloaded(BatcherError):
    """The queue is full; `retry_after` seconds are likely to make room."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the queue is full; it should be empty in {retry_after:.3f} s")
        self.retry_after = retry_after


class Closed(BatcherError):
    """Nothing is admitted any more."""


class DeadlineExceeded(BatcherError):
    """The deadline of the rows passed before a batch reached them."""


class DeviceLost(BatcherError):
    """The device is gone: everything that waits fails, and nothing more is admitted."""


@dataclass
class LaneStats:
    """Counts since the lane was made, all in one place."""

    rows: int = 0
    padded_rows: int = 0  # added by the batch function, which alone knows
    batches: int = 0
    dropped_rows: int = 0
    rejected_rows: int = 0


@dataclass(slots=True, eq=False)
class _Ticket:
    """One submitted block on its way through the batches."""

    block: Block
    future: "asyncio.Future[list[Any]]"
    reservation: "Reservation"
    deadline: float | None
    arrived: float
    taken: int = 0  # rows that batches have taken so far
    parts: list[Any] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        return len(self.block) - self.taken


@dataclass(slots=True)
class _Slice:
    """Rows of one ticket in one batch."""

    ticket: _Ticket
    rows: Block


class Lane:
    """A queue of rows of one kind, for one batch function. Made by `Batcher.lane`."""

    def __init__(
        self,
        batcher: "Batcher",
        run: Callable[[list[Any]], list[Any]],
        join: Callable[[list[Any]], Any],
        max_batch: int,
        max_queue_rows: int,
        max_rows: int,
    ) -> None:
        if not 0 < max_batch <= max_queue_rows or not 0 < max_rows <= max_queue_rows:
            raise ValueError("max_batch and max_rows must be positive and at most max_queue_rows")
        self.max_batch, self.max_queue_rows, self.max_rows = max_batch, max_queue_rows, max_rows
        self.stats = LaneStats()
        self.queued_rows = 0  # admitted and not yet taken by a batch, submitted or still to be submitted
        self.seconds_per_batch = 0.0
        self._batcher, self._run, self._join = batcher, run, join
        self._tickets: deque[_Ticket] = deque()

    async def submit(self, block: Block, deadline: float | None = None) -> Any:
        """Rows in, the function's rows out, in the same order. Raises BatcherError, or what the function raises."""
        with self.reserve(len(block)) as reservation:
            return await reservation.submit(block, deadline)

    def reserve(self, rows: int) -> "Reservation":
        """Admit `rows` rows, all or nothing, before they are made. Raises TooLarge, Overloaded or Closed."""
        if rows <= 0:
            raise ValueError("a block has at least one row")
        with self._batcher.wake:
            self._batcher.check_open()
            if rows > self.max_rows:
                self.stats.rejected_rows += rows
                raise TooLarge(rows, self.max_rows)
            if self.queued_rows + rows > self.max_queue_rows:
                self.stats.rejected_rows += rows
                raise Overloaded(self._batcher.seconds_to_drain())
            self.queued_rows += rows
        return Reservation(self, rows)

    # What follows runs with the batcher's lock held.

    def put(self, ticket: _Ticket) -> None:
        """Append a ticket whose rows are admitted."""
        self._tickets.append(ticket)
        self._batcher.wake.notify()

    def drop(self, ticket: _Ticket) -> None:
        """Forget a ticket whose caller is gone; rows in the batch that runs now are past saving."""
        if ticket in self._tickets:
            self._tickets.remove(ticket)
            self._count_dropped(ticket)

    def _count_dropped(self, ticket: _Ticket) -> None:
        self.stats.dropped_rows += ticket.waiting
        self.queued_rows -= ticket.waiting

    def next_batch(self, deliver: "_Delivery") -> Callable[[], None] | None:
        """The next batch as a function for the worker, or None when nothing waits."""
        now = time.monotonic()
        shares = self._shares(now, deliver)
        if not shares:
            return None
        slices = []
        for ticket, rows in shares.items():
            if ticket.taken == 0:
                ticket.reservation.queue_seconds = max(ticket.reservation.queue_seconds, now - ticket.arrived)
            whole = rows == len(ticket.block)
            slices.append(_Slice(ticket, ticket.block if whole else ticket.block[ticket.taken : ticket.taken + rows]))
            ticket.taken += rows
            self.queued_rows -= rows
        return lambda: self._compute(slices, deliver)

    def _shares(self, now: float, deliver: "_Delivery") -> dict[_Ticket, int]:
        """Rows of each ticket in the next batch: equal shares in turn, what is left over to those who have more."""
        shares: dict[_Ticket, int] = {}
        room = self.max_batch
        while room and self._tickets:
            share = max(1, room // len(self._tickets))
            for _ in range(min(room, len(self._tickets))):
                ticket = self._tickets.popleft()
                if ticket.future.done() or (ticket.deadline is not None and ticket.deadline <= now):
                    self._count_dropped(ticket)
                    deliver.add(ticket.future, None, DeadlineExceeded("the deadline passed while the request was waiting"))
                    continue
                given = shares.get(ticket, 0)
                rows = min(share, ticket.waiting - given, room)
                shares[ticket] = given + rows
                room -= rows
                if given + rows < ticket.waiting:
                    self._tickets.append(ticket)
                if not room:
                    break
        return shares

    # What follows runs on the worker, without the lock.

    def _compute(self, slices: list[_Slice], deliver: "_Delivery") -> None:
        started = time.monotonic()
        try:
            results = self._run_or_halve(slices)
        except BaseException as error:  # not an Exception: the thread is about to end
            for part in slices:
                deliver.add(part.ticket.future, None, DeviceLost(f"the batching thread died: {error!r}"))
            raise
        seconds = time.monotonic() - started
        with self._batcher.wake:
            self.stats.batches += 1
            self.stats.rows += sum(len(part.rows) for part in slices)
            mean = self.seconds_per_batch
            self.seconds_per_batch = mean + NEWEST * (seconds - mean) if mean else seconds
            for part, result in zip(slices, results, strict=True):
                ticket = part.ticket
                ticket.reservation.compute_seconds += seconds
                if isinstance(result, Exception):
                    if ticket in self._tickets:  # the rest of a request that has failed is of no use
                        self._tickets.remove(ticket)
                        self._count_dropped(ticket)
                    deliver.add(ticket.future, None, result)
                    continue
                ticket.parts.append(result)
                if sum(len(p) for p in ticket.parts) == len(ticket.block):
                    deliver.add(ticket.future, ticket.parts)
            lost = next((r for r in results if isinstance(r, DeviceLost)), None)
        if lost is not None:
            self._batcher.fail(str(lost), deliver)

    def _run_or_halve(self, slices: list[_Slice]) -> list[Any]:
        """A result or an exception for each slice; a failed batch is run again in halves to find what failed it."""
        result = self._attempt(slices)
        if not isinstance(result, Exception):
            return result
        if len(slices) == 1 or isinstance(result, DeviceLost):
            return [result] * len(slices)
        middle = len(slices) // 2
        halves = (slices[:middle], slices[middle:])
        attempts = [self._attempt(half) for half in halves]
        alike = {(type(a), str(a)) if isinstance(a, Exception) else None for a in attempts}
        if None not in alike and (len(alike) == 1 or any(isinstance(a, DeviceLost) for a in attempts)):
            return [attempts[0]] * len(slices)  # not one bad request: the same thing is wrong with all of them
        results: list[Any] = []
        for half, attempt in zip(halves, attempts, strict=True):
            if not isinstance(attempt, Exception):
                results += attempt
            else:
                results += [attempt] if len(half) == 1 else self._run_or_halve(half)
        return results

    def _attempt(self, slices: list[_Slice]) -> "list[Any] | Exception":
        try:
            outputs = self._run([part.rows for part in slices])
            if [len(rows) for rows in outputs] != [len(part.rows) for part in slices]:
                raise RuntimeError("a batch function must return as many rows as it was given, block by block")
        except StopIteration as error:  # no future takes this one
            return RuntimeError(f"StopIteration: {error}")
        except Exception as error:
            return error
        return outputs


class Reservation:
    """Admitted rows of one request, submitted in one block or several; leaving it gives back what was not submitted."""

    def __init__(self, lane: Lane, rows: int) -> None:
        self._lane, self._unsubmitted = lane, rows
        self.queue_seconds = 0.0  # longest wait of a block for its first batch
        self.compute_seconds = 0.0  # time of the batches that held rows of it

    async def submit(self, block: Block, deadline: float | None = None) -> Any:
        """The function's rows for these rows. `deadline`: in the time of `time.monotonic`. Raises like `Lane.submit`."""
        lane, batcher = self._lane, self._lane._batcher
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        ticket = _Ticket(block, future, self, deadline, time.monotonic())
        with batcher.wake:
            if not 0 < len(block) <= self._unsubmitted:
                raise ValueError(f"{len(block)} rows submitted, {self._unsubmitted} are reserved")
            if batcher.lost:
                raise DeviceLost(batcher.lost)
            self._unsubmitted -= len(block)
            lane.put(ticket)
        try:
            parts = await future
        except asyncio.CancelledError:
            with batcher.wake:
                lane.drop(ticket)
                batcher.wake.notify()
            raise
        return parts[0] if len(parts) == 1 else lane._join(parts)

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._lane._batcher.wake:
            self._lane.queued_rows -= self._unsubmitted
            self._unsubmitted = 0
            self._lane._batcher.wake.notify()  # a closing worker waits for the last admitted row


class _Delivery:
    """Results on their way from the worker to the event loop: one wake-up a batch, not one a request."""

    def __init__(self) -> None:
        self._outcomes: list[tuple[asyncio.Future[Any], Any, Exception | None]] = []

    def add(self, future: "asyncio.Future[Any]", value: Any, error: Exception | None = None) -> None:
        self._outcomes.append((future, value, error))

    def send(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        if not outcomes:
            return
        loop = outcomes[0][0].get_loop()
        if not loop.is_closed():  # a closed loop has nobody left who waits
            loop.call_soon_threadsafe(_resolve, outcomes)


def _resolve(outcomes: "Sequence[tuple[asyncio.Future[Any], Any, Exception | None]]") -> None:
    for future, value, error in outcomes:
        if future.done():  # cancelled meanwhile
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


class Batcher:
    """The worker thread and its lanes. `start` it before use, `close` it after."""

    def __init__(self, name: str = "batcher") -> None:
        self.wake = threading.Condition()  # guards everything below and in the lanes
        self.closed_because = ""  # why nothing is admitted any more
        self.lost = ""  # why the device is gone
        self._lanes: deque[Lane] = deque()
        self._calls: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    def lane(
        self,
        run: Callable[[list[Any]], list[Any]],
        join: Callable[[list[Any]], Any],
        *,
        max_batch: int,
        max_queue_rows: int,
        max_rows: int,
    ) -> Lane:
        """A new lane. `run`: blocks of at most `max_batch` rows in all -> as many blocks; `join`: parts -> one block."""
        lane = Lane(self, run, join, max_batch, max_queue_rows, max_rows)
        with self.wake:
            self._lanes.append(lane)
        return lane

    def remove(self, lane: Lane) -> None:
        """Forget an empty lane."""
        with self.wake:
            self._lanes.remove(lane)

    async def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the worker, in turn with the batches; its result, or what it raises."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with self.wake:
            self.check_open()
            self._calls.append((function, future))
            self.wake.notify()
        return await future

    def check_open(self) -> None:
        """Raises DeviceLost or Closed when nothing is admitted any more."""
        if self.lost:
            raise DeviceLost(self.lost)
        if self.closed_because:
            raise Closed(self.closed_because)

    def seconds_to_drain(self) -> float:
        """How long all that waits will take, from the measured time of each lane's batches."""
        return sum(-(-lane.queued_rows // lane.max_batch) * lane.seconds_per_batch for lane in self._lanes)

    async def close(self, reason: str = "the service is shutting down") -> None:
        """Admit nothing more, finish what was admitted, end the worker."""
        with self.wake:
            self.closed_because = self.closed_because or reason
            self.wake.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def fail(self, reason: str, deliver: _Delivery) -> None:
        """The device is gone: fail everything that waits."""
        with self.wake:
            self.lost = self.closed_because = reason
            for _, future in self._calls:
                deliver.add(future, None, DeviceLost(reason))
            self._calls.clear()
            for lane in self._lanes:
                for ticket in lane._tickets:
                    lane._count_dropped(ticket)
                    deliver.add(ticket.future, None, DeviceLost(reason))
                lane._tickets.clear()

    def _work(self) -> None:
        deliver = _Delivery()
        try:
            while True:
                with self.wake:
                    while (turn := self._next_turn(deliver)) is None:
                        deliver.send()
                        if self.closed_because and not any(lane.queued_rows for lane in self._lanes):
                            return
                        self.wake.wait()
                turn()
                deliver.send()
        except BaseException as error:  # a defect here must not leave callers hanging
            self.fail(f"the batching thread died: {error!r}", deliver)
            deliver.send()
            raise

    def _next_turn(self, deliver: _Delivery) -> Callable[[], None] | None:
        if self._calls:
            function, future = self._calls.popleft()
            return lambda: _call(function, future, deliver)
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate(-1)
            batch = lane.next_batch(deliver)
            if batch is not None:
                return batch
        return None


def _call(function: Callable[[], Any], future: "asyncio.Future[Any]", deliver: _Delivery) -> None:
    try:
        deliver.add(future, function())
    except Exception as error:
        deliver.add(future, None, error)
