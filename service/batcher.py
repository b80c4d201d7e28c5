"""Dynamic batching of any function of blocks of rows: whatever waits when the worker is free forms the next batch.

One thread runs one batch at a time, for all lanes in turn. There is no timer and no polling: an idle worker runs a lone row
at once, a busy one finds the next batch waiting. Every path resolves every future. Knows nothing of arrays, devices or HTTP;
standard library only.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from service.gate import Delivery, DeviceLost, Gate
from service.lane import Lane


class Batcher:
    """The worker thread and its lanes. `start` it before use, `close` it after."""

    def __init__(self, name: str = "batcher") -> None:
        self._gate = Gate()
        self._lanes: deque[Lane] = deque()
        self._calls: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    @property
    def lost(self) -> str:
        """Why the device is gone, or an empty string."""
        return self._gate.lost

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
        lane = Lane(self._gate, self._seconds_to_drain, run, join, max_batch, max_queue_rows, max_rows)
        with self._gate.wake:
            self._lanes.append(lane)
        return lane

    def remove(self, lane: Lane) -> None:
        """Forget an empty lane."""
        with self._gate.wake:
            self._lanes.remove(lane)

    async def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the worker, in turn with the batches; its result, or what it raises."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with self._gate.wake:
            self._gate.check_open()
            self._calls.append((function, future))
            self._gate.wake.notify()
        return await future

    def _seconds_to_drain(self) -> float:
        """How long all that waits will take, from the measured time of each lane's batches."""
        return sum(-(-lane.queued_rows // lane.max_batch) * lane.seconds_per_batch for lane in self._lanes)

    async def close(self, reason: str = "the service is shutting down") -> None:
        """Admit nothing more, finish what was admitted, end the worker."""
        with self._gate.wake:
            self._gate.closed_because = self._gate.closed_because or reason
            self._gate.wake.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _fail(self, error: DeviceLost, deliver: Delivery) -> None:
        """The device is gone: fail everything that waits, admit nothing more."""
        with self._gate.wake:
            self._gate.lost = self._gate.closed_because = str(error)
            for _, future in self._calls:
                deliver.add(future, None, error)
            self._calls.clear()
            for lane in self._lanes:
                lane.fail(error, deliver)

    def _work(self) -> None:
        deliver = Delivery()
        try:
            while True:
                with self._gate.wake:
                    while (turn := self._next_turn(deliver)) is None:
                        deliver.send()
                        if self._gate.closed_because and not any(lane.queued_rows for lane in self._lanes):
                            return
                        self._gate.wake.wait()
                lost = turn()
                if lost is not None:
                    self._fail(lost, deliver)
                deliver.send()
        except BaseException as error:  # a defect here must not leave callers hanging
            self._fail(DeviceLost(f"the batching thread died: {error!r}"), deliver)
            deliver.send()
            raise

    def _next_turn(self, deliver: Delivery) -> Callable[[], DeviceLost | None] | None:
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
