"""Dynamic batching of any function of blocks of rows: whatever waits when the device becomes free forms the next batch.

There is no timer and no polling: an idle device runs a lone row at once, and a busy one finds the next batch waiting. Lanes
(queues) take turns. A batch runs on a worker thread, or on the event loop itself if it is known to be short: that saves two
context switches, and the interpreter lock does not change hands. Every path resolves every future. Knows nothing of arrays,
devices or HTTP, and uses only the standard library.
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
from service.engine.gate import BlockFuture, Delivery, Gate
from service.engine.lane import Lane, LaneConfig

Turn = Callable[[], DeviceLost | None]

# Let the event loop run two iterations between batches: one to send answers and read requests, one to submit the new requests.
# Without them, answers would wait for another batch to finish, and new requests would miss the next batch.
ROUNDS_BETWEEN_TURNS = 2


class Batcher:
    """The worker threads and their lanes. Call `start` before use and `close` after it."""

    def __init__(self, name: str = "batcher", workers: int = 1, short_seconds: float = 0.0) -> None:
        """Make the threads, without starting them.

        `workers`: number of batches that may run at once, for a device that copies one while it computes another.
        `short_seconds`: batches that take at most this long run on the event loop; this allows only one worker.
        """
        if workers < 1 or (workers > 1 and short_seconds > 0):
            raise ValueError("workers must be at least 1, and exactly 1 if short_seconds is positive")
        self._gate = Gate()
        self._gate.tell = self._tell
        self._lanes: deque[Lane] = deque()
        self._calls: deque[tuple[Callable[[], Any], BlockFuture]] = deque()
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(workers)]
        self._short_seconds = short_seconds
        self._loop: asyncio.AbstractEventLoop | None = None  # the event loop that runs short batches
        self._on_loop = short_seconds > 0  # whether the event loop or the worker takes the next turn
        self._scheduled = False  # whether the event loop is about to take a turn
        self._begun: dict[int, float] = {}  # when the turn that each worker is running began, or last gave a sign of life
        self._beaten = -math.inf  # when any turn last gave a sign of life
        self._told: float | None = None  # when rows arrived or left and nobody has looked at the queues since

    @property
    def lost(self) -> str:
        """The reason why the device is lost, or an empty string."""
        return self._gate.lost

    @property
    def seconds_without_beat(self) -> float:
        """Seconds without a sign of life of a running turn, or that new work has gone unnoticed; 0 when idle."""
        now = time.monotonic()
        since = list(self._begun.values()) + [max(told, self._beaten) for told in [self._told] if told is not None]
        return max((now - beat for beat in since), default=0.0)

    def beat(self) -> None:
        """Give a sign of life of the turn that runs on this thread: it takes long, but it is not stuck."""
        self._beaten, own = time.monotonic(), threading.get_ident()
        if own in self._begun:
            self._begun[own] = self._beaten

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def lane(self, config: LaneConfig) -> Lane:
        """Make a new lane."""
        lane = Lane(self._gate, self._seconds_to_drain, config)
        with self._gate.lock:
            self._lanes.append(lane)
        return lane

    def remove(self, lane: Lane) -> None:
        """Forget an empty lane."""
        with self._gate.lock:
            self._lanes.remove(lane)

    async def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on a worker between batches. Return its result or raise its exception."""
        future = BlockFuture(loop=asyncio.get_running_loop())
        with self._gate.lock:
            self._gate.check_open()
            self._calls.append((function, future))
            self._tell()
        return await future

    async def close(self, reason: str = "the service is shutting down") -> None:
        """Admit nothing more, finish what was admitted, then end the workers."""
        with self._gate.lock:
            self._gate.closed_because = self._gate.closed_because or reason
            self._gate.wake.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                await asyncio.to_thread(thread.join)

    # The methods below run while the gate's lock is held.

    def _tell(self) -> None:
        """Wake up the event loop or a worker, because rows have arrived or left."""
        if self._told is None:
            self._told = time.monotonic()
        if not self._on_loop or self._gate.closed_because:
            self._gate.wake.notify()
        if self._on_loop and not self._scheduled:
            self._loop, self._scheduled = asyncio.get_running_loop(), True
            self._loop.call_soon(self._turn_on_loop)

    def _seconds_to_drain(self) -> float:
        """Estimate how long all queued rows will take, from the measured time of each lane's batches."""
        return sum(-(-lane.queued_rows // lane.max_batch) * lane.seconds_per_batch * lane.turns for lane in self._lanes)

    def _next_is_short(self) -> bool | None:
        """Return whether the next turn belongs on the event loop, or None if nothing waits."""
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
        """Return the worker's next turn, or None if nothing waits or the event loop takes the next turn."""
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
            self._gate.wake.notify()  # wake up another worker, if there is one
        return turn

    # The methods below run without the lock. The next two run on the event loop.

    def _turn_on_loop(self) -> None:
        """Run one short batch, then schedule the next after the event loop's other work. Leave a long one to the worker."""
        deliver = Delivery()
        try:
            with self._gate.lock:
                if self._next_is_short() is False:
                    self._on_loop = self._scheduled = False
                    self._gate.wake.notify()
                    return
                turn = self._next_turn(deliver)
                if turn is None:  # nothing waits, or all callers are gone
                    self._scheduled = False
                    if self._gate.closed_because:
                        self._gate.wake.notify()  # the worker waits for the queues to become empty
            lost = turn() if turn is not None else None
            if lost is not None:
                self._fail(lost, deliver)
            deliver.hand_over()
        except BaseException as error:  # a defect here must not leave callers hanging
            self._fail(DeviceLost(f"a batch on the event loop raised {error!r}"), deliver)
            deliver.hand_over()
            raise
        if turn is not None:
            self._turn_after(ROUNDS_BETWEEN_TURNS)

    def _turn_after(self, rounds: int) -> None:
        """Schedule the next turn after so many iterations of the event loop."""
        later = partial(self._turn_after, rounds - 1) if rounds else self._turn_on_loop
        asyncio.get_running_loop().call_soon(later)

    # The next one runs on a worker thread.

    def _work(self) -> None:
        deliver, own = Delivery(), threading.get_ident()
        try:
            while True:
                with self._gate.lock:
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
        """Fail everything that waits and admit nothing more, because the device is lost."""
        with self._gate.lock:
            self._gate.lost = self._gate.closed_because = str(error)
            for _, future in self._calls:
                deliver.add(future, None, error)
            self._calls.clear()
            for lane in self._lanes:
                lane.fail(error, deliver)


def _call(function: Callable[[], Any], future: BlockFuture, deliver: Delivery) -> None:
    try:
        deliver.add(future, function())
    except StopIteration as error:  # a future refuses to hold a StopIteration
        deliver.add(future, None, RuntimeError(f"StopIteration: {error}"))
    except Exception as error:
        deliver.add(future, None, error)
    except BaseException as error:  # the thread is about to end
        deliver.add(future, None, DeviceLost(f"the batching thread died: {error!r}"))
        raise
