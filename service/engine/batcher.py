"""Dynamic batching of any function of blocks of rows: whatever waits when the device is free forms the next batch.

There is no timer and no polling: an idle device runs a lone row at once, a busy one finds the next batch waiting. Lanes take
turns. A batch runs on a worker thread, or, where it is known to be short, on the event loop itself: that spares two changes
of thread, and the interpreter lock stays where it is. Every path resolves every future. Knows nothing of arrays, devices or
HTTP; standard library only.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from service.engine.errors import DeviceLost
from service.engine.gate import Delivery, Gate
from service.engine.lane import Lane

Turn = Callable[[], DeviceLost | None]

# Of the event loop: in the first the answers of a batch are sent and new requests are read, in the second those are submitted.
# Without them an answer would lie there for another batch, and a request would miss one.
ROUNDS_BETWEEN_TURNS = 2


class Batcher:
    """The worker threads and the lanes. `start` it before use, `close` it after."""

    def __init__(self, name: str = "batcher", workers: int = 1, short_seconds: float = 0.0) -> None:
        """`workers`: batches that may run at once, for a device that copies one while it computes another.

        `short_seconds`: batches that take at most so long run on the event loop; then there is one worker, for the others.
        """
        if workers < 1 or (workers > 1 and short_seconds > 0):
            raise ValueError("batches run at once on several workers, or one at a time on the event loop too, not both")
        self._gate = Gate()
        self._gate.tell = self._tell
        self._lanes: deque[Lane] = deque()
        self._calls: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(workers)]
        self._short_seconds = short_seconds
        self._loop: asyncio.AbstractEventLoop | None = None  # where short batches run
        self._on_loop = short_seconds > 0  # whose turn it is: the loop's, or the worker's
        self._scheduled = False  # the loop is about to take a turn
        self._begun: dict[int, float] = {}  # when each worker's present turn began
        self._told: float | None = None  # since when there may be work that nobody has looked at

    @property
    def lost(self) -> str:
        """Why the device is gone, or an empty string."""
        return self._gate.lost

    @property
    def seconds_without_beat(self) -> float:
        """How long the oldest turn on a worker has taken so far, or work has waited without anybody looking; idle: 0."""
        now = time.monotonic()
        since = list(self._begun.values()) + [told for told in [self._told] if told is not None]
        return max((now - beat for beat in since), default=0.0)

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def lane(
        self,
        run: Callable[[list[Any]], list[Any]],
        join: Callable[[list[Any]], Any],
        *,
        max_batch: int,
        max_queue_rows: int,
        max_rows: int,
        seconds: Callable[[int], float] = lambda rows: math.inf,
        padding: Callable[[int], int] = lambda rows: 0,
    ) -> Lane:
        """A new lane. `run`: blocks of at most `max_batch` rows in all -> as many blocks; `join`: parts -> one block.

        `seconds`: about how long `run` takes for so many rows; `padding`: rows that it adds to so many.
        """
        lane = Lane(self._gate, self._seconds_to_drain, run, join, max_batch, max_queue_rows, max_rows, seconds, padding)
        with self._gate.wake:
            self._lanes.append(lane)
        return lane

    def remove(self, lane: Lane) -> None:
        """Forget an empty lane."""
        with self._gate.wake:
            self._lanes.remove(lane)

    async def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on a worker, in turn with the batches; its result, or what it raises."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with self._gate.wake:
            self._gate.check_open()
            self._calls.append((function, future))
            self._tell()
        return await future

    async def close(self, reason: str = "the service is shutting down") -> None:
        """Admit nothing more, finish what was admitted, end the workers."""
        with self._gate.wake:
            self._gate.closed_because = self._gate.closed_because or reason
            self._gate.wake.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                await asyncio.to_thread(thread.join)

    # What follows runs with the gate's lock held.

    def _tell(self) -> None:
        """Rows have come, or gone: whoever's turn it is must look."""
        if self._told is None:
            self._told = time.monotonic()
        if not self._on_loop or self._gate.closed_because:
            self._gate.wake.notify()
        if self._on_loop and not self._scheduled:
            self._loop, self._scheduled = asyncio.get_running_loop(), True
            self._loop.call_soon(self._turn_on_loop)

    def _seconds_to_drain(self) -> float:
        """How long all that waits will take, from the measured time of each lane's batches."""
        return sum(-(-lane.queued_rows // lane.max_batch) * lane.seconds_per_batch for lane in self._lanes)

    def _next_is_short(self) -> bool | None:
        """Whether the next turn belongs on the event loop; None when there is none."""
        if self._calls:
            return False
        lane = next((lane for lane in self._lanes if lane.waiting_rows), None)
        return None if lane is None else lane.is_short(self._short_seconds)

    def _next_turn(self, deliver: Delivery) -> Turn | None:
        self._told = None
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

    def _turn_of_worker(self, deliver: Delivery) -> Turn | None:
        """None when nothing waits, or when the loop goes on."""
        if self._on_loop:
            return None
        if self._short_seconds and self._loop is not None and not self._loop.is_closed() and self._next_is_short():
            self._on_loop = self._scheduled = True
            self._loop.call_soon_threadsafe(self._turn_on_loop)
            return None
        turn = self._next_turn(deliver)
        if turn is None:
            self._on_loop = self._short_seconds > 0
        elif any(lane.waiting_rows for lane in self._lanes):
            self._gate.wake.notify()  # another worker, where there is one
        return turn

    # What follows runs without it: on the event loop ...

    def _turn_on_loop(self) -> None:
        """One short batch, then whatever else the loop has to do, then the next; a long one is left to the worker."""
        deliver = Delivery()
        try:
            with self._gate.wake:
                if self._next_is_short() is False:
                    self._on_loop = self._scheduled = False
                    self._gate.wake.notify()
                    return
                turn = self._next_turn(deliver)
                if turn is None:  # nothing waits, or only callers who are gone
                    self._scheduled = False
                    if self._gate.closed_because:
                        self._gate.wake.notify()  # the worker waits for the end
            lost = turn() if turn is not None else None
            if lost is not None:
                self._fail(lost, deliver)
            deliver.hand_over()
        except BaseException as error:  # a defect here must not leave callers hanging
            self._fail(DeviceLost(f"a batch ended the event loop: {error!r}"), deliver)
            deliver.hand_over()
            raise
        if turn is not None:
            self._turn_after(ROUNDS_BETWEEN_TURNS)

    def _turn_after(self, rounds: int) -> None:
        """The next turn, once the loop has gone round so many times."""
        later = partial(self._turn_after, rounds - 1) if rounds else self._turn_on_loop
        asyncio.get_running_loop().call_soon(later)

    # ... and on a worker.

    def _work(self) -> None:
        deliver, own = Delivery(), threading.get_ident()
        try:
            while True:
                with self._gate.wake:
                    while (turn := self._turn_of_worker(deliver)) is None:
                        deliver.send()
                        if self._gate.closed_because and not any(lane.queued_rows for lane in self._lanes):
                            return
                        self._gate.wake.wait()
                    self._begun[own] = time.monotonic()
                lost = turn()
                del self._begun[own]
                if lost is not None:
                    self._fail(lost, deliver)
                deliver.send()
        except BaseException as error:  # a defect here must not leave callers hanging
            self._fail(DeviceLost(f"the batching thread died: {error!r}"), deliver)
            deliver.send()
            raise

    def _fail(self, error: DeviceLost, deliver: Delivery) -> None:
        """The device is gone: fail everything that waits, admit nothing more."""
        with self._gate.wake:
            self._gate.lost = self._gate.closed_because = str(error)
            for _, future in self._calls:
                deliver.add(future, None, error)
            self._calls.clear()
            for lane in self._lanes:
                lane.fail(error, deliver)


def _call(function: Callable[[], Any], future: "asyncio.Future[Any]", deliver: Delivery) -> None:
    try:
        deliver.add(future, function())
    except StopIteration as error:  # no future takes this one
        deliver.add(future, None, RuntimeError(f"StopIteration: {error}"))
    except Exception as error:
        deliver.add(future, None, error)
    except BaseException as error:  # the thread is about to end
        deliver.add(future, None, DeviceLost(f"the batching thread died: {error!r}"))
        raise
