"""Encoders in processes of this machine, or in this process alone. Knows nothing of files, models or stores.

Each process has a pipe of its own and shares no lock with others. So a process that dies, at whatever moment, closes its pipe,
and nothing waits for it any longer.
"""

import asyncio
import os
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.resource_tracker import ensure_running

from service.bulk.encoded import Encoded
from service.bulk.worker import Work, Worker
from service.operations.load_sources import Interrupted, PictureBatch

# Batches that wait for each process, so that none is idle while results are stored.
WAITING = 2
# Batches that a process works on at a time.
AT_A_TIME = 2
# Processes that have nothing to do any more have so many seconds to end by themselves, all together.
ENDING_SECONDS = 10.0


async def in_order(
    encode: Callable[[PictureBatch], Awaitable[Encoded]], ahead: int, batches: AsyncIterator[PictureBatch]
) -> AsyncGenerator[Encoded]:
    """Yield the results of batches in their order, while up to `ahead` others are worked on."""
    waiting: deque[asyncio.Future[Encoded]] = deque()
    try:
        async for batch in batches:
            waiting.append(asyncio.ensure_future(encode(batch)))
            if len(waiting) > ahead:
                yield await _next(waiting)
        while waiting:
            yield await _next(waiting)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _next(waiting: deque[asyncio.Future[Encoded]]) -> Encoded:
    """Return the result of the first batch. Nobody waits for it if another one was interrupted, because its process died."""
    while not waiting[0].done():
        done, _ = await asyncio.wait([one for one in waiting if not one.done()], return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            if isinstance(one.exception(), Interrupted):
                one.result()  # raises it
    return waiting.popleft().result()


async def in_processes(work: Work, count: int, batches: AsyncIterator[PictureBatch]) -> AsyncGenerator[Encoded]:
    """Yield the results of batches in their order, from so many processes. Raises LoadError, Interrupted."""
    processes = [_Process(work) for _ in range(count)]

    async def encoded(batch: PictureBatch) -> Encoded:
        # Of those with the fewest batches, the first one: it has been started already.
        process = min(processes, key=lambda one: one.batches)
        process.batches += 1
        try:
            return await asyncio.wrap_future(process.encode(batch))
        finally:
            process.batches -= 1

    deadline = 0.0
    try:
        async for result in in_order(encoded, WAITING * count, batches):
            yield result
        deadline = time.monotonic() + ENDING_SECONDS
    finally:
        # After an error or Ctrl-C nobody waits for the batches that are being encoded: these processes store nothing.
        if not deadline:  # All of them first: a second Ctrl-C may end this while one is waited for.
            for process in processes:
                process.kill()
        for process in processes:
            process.end(deadline)


class _Process:
    """A process with a worker, which is started for the first batch. It gets further batches while it encodes one."""

    def __init__(self, work: Work) -> None:
        self.batches = 0  # that it has, and whose results are not there yet
        self._work = work
        self._lock = threading.Lock()  # held while the process is started, and while it is ended
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._has_ended = False
        self._sender, self._receiver = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def encode(self, batch: PictureBatch) -> Future[Encoded]:
        """Send a batch, and return its result when it is there. It raises LoadError, Interrupted."""
        return self._receiver.submit(self._receive, self._sender.submit(self._send, batch))

    def _send(self, batch: PictureBatch) -> Connection:
        pipe = self._started()
        with _as_interrupted():
            pipe.send_bytes(pickle.dumps(batch))
        return pipe

    def _receive(self, sent: Future[Connection]) -> Encoded:
        """Return the result of the batch that was sent before all others whose results are not there yet."""
        with _as_interrupted():
            answer = sent.result().recv_bytes()
        found: Encoded | Exception = pickle.loads(answer)  # noqa: S301  It comes from our own process.
        if isinstance(found, Exception):
            raise found
        return found

    def _started(self) -> Connection:
        with self._lock:
            if self._has_ended:
                raise Interrupted("the load has ended")
            if self._pipe is None:
                ours, theirs = Pipe()
                # Python ends daemons with the first process, and would wait for others, if a second Ctrl-C has hindered `end`.
                process = get_context("spawn").Process(target=_run, args=(self._work, theirs), daemon=True)
                ensure_running()  # It would let Ctrl-C through to this thread again.
                # A process inherits this. Ctrl-C goes to all processes of a terminal; the first one ends the others.
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                process.start()
                theirs.close()
                self._pipe, self._process = ours, process
            return self._pipe

    def kill(self) -> None:
        """End the process at once, if it has been started. Call `end` after it."""
        if self._process is not None:
            self._process.kill()

    def end(self, deadline: float) -> None:
        """End the process: at once, or if nothing is in progress by itself until the deadline, in the time of `monotonic`."""
        for threads in (self._sender, self._receiver):
            threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._has_ended = True
        if self._process is not None and self._pipe is not None:
            if deadline:
                self._pipe.close()
                self._process.join(max(0.0, deadline - time.monotonic()))
            self._process.kill()  # Nothing else ends a process that is stopped.
            self._process.join()
        for threads in (self._sender, self._receiver):
            threads.shutdown()  # They end with the process that they wait for.


@contextmanager
def _as_interrupted() -> Iterator[None]:
    """Raise Interrupted if the other end of a pipe is closed."""
    try:
        yield
    except (EOFError, OSError):
        raise Interrupted(
            "a process that encodes has ended, perhaps because the memory is full: try fewer with --workers"
        ) from None


def _run(work: Work, pipe: Connection) -> None:
    """Encode one batch after the other, until the other end of the pipe is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(encode_all(Worker(work), pipe))


async def encode_all(worker: Worker, pipe: Connection) -> None:
    """Send the results of batches in their order. While one is encoded, the pictures of the next one are read and decoded."""
    results = asyncio.Queue[asyncio.Task[Encoded | Exception] | None]()
    room, starting = asyncio.Semaphore(AT_A_TIME), asyncio.Lock()

    async def receive() -> None:
        with suppress(EOFError, OSError):
            while await room.acquire():
                batch: PictureBatch = pickle.loads(await asyncio.to_thread(pipe.recv_bytes))  # noqa: S301  It is our own process's.
                results.put_nowait(asyncio.create_task(_result(worker, batch, starting)))
        results.put_nowait(None)

    async def send() -> None:
        while (task := await results.get()) is not None:
            result = await task
            await asyncio.to_thread(pipe.send_bytes, pickle.dumps(result))
            room.release()

    await asyncio.gather(receive(), send())


def _end_with_parent() -> None:
    """End this process when its parent is gone, also while it encodes."""
    parent = parent_process()
    assert parent is not None  # noqa: S101  This runs in processes of a load only.
    parent.join()
    os._exit(1)


async def _result(worker: Worker, batch: PictureBatch, starting: asyncio.Lock) -> Encoded | Exception:
    """Return the result of a batch, or the error, which says where it was raised if it is a fault of ours."""
    try:
        async with starting:
            if not worker.pipeline.catalog.models:  # An error of this first batch says why; one in `_run` would say nothing.
                await worker.start()
        return await worker.encode(batch)
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error
