"""Encoders in processes of this machine, or in this process alone. Knows nothing of files, models or stores."""

import asyncio
import os
import signal
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process

from service.bulk.encoded import Encoded
from service.bulk.worker import Work, Worker
from service.operations.load_sources import Interrupted, PictureBatch

# Batches that wait for each process, so that none is idle while results are stored.
WAITING = 2

_runner = asyncio.Runner()
_workers: list[Worker] = []  # of a process of `in_processes`: its worker


async def in_order(
    encode: Callable[[PictureBatch], Awaitable[Encoded]], ahead: int, batches: AsyncIterator[PictureBatch]
) -> AsyncGenerator[Encoded]:
    """Yield the results of batches in their order, while up to `ahead` others are worked on."""
    waiting: deque[asyncio.Future[Encoded]] = deque()
    try:
        async for batch in batches:
            waiting.append(asyncio.ensure_future(encode(batch)))
            if len(waiting) > ahead:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def in_processes(work: Work, count: int, batches: AsyncIterator[PictureBatch]) -> AsyncGenerator[Encoded]:
    """Yield the results of batches in their order, from so many processes. Raises LoadError, Interrupted."""
    pool = ProcessPoolExecutor(count, get_context("spawn"), _start, (work,))
    try:
        async for encoded in in_order(partial(_in_pool, pool), WAITING * count, batches):
            yield encoded
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


async def _in_pool(pool: ProcessPoolExecutor, batch: PictureBatch) -> Encoded:
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, _encode, batch)
    except BrokenProcessPool:
        raise Interrupted(
            "a process that encodes has ended, perhaps because the memory is full: try fewer with --workers"
        ) from None


def _start(work: Work) -> None:
    """Prepare a process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the first one ends the others.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _workers.append(Worker(work))


def _end_with_parent() -> None:
    """End this process when its parent is gone: the pool would wait for more work forever."""
    parent = parent_process()
    assert parent is not None  # noqa: S101  This runs in processes of the pool only.
    parent.join()
    os._exit(1)


def _encode(batch: PictureBatch) -> Encoded:
    (worker,) = _workers
    return _runner.run(_encoded(worker, batch))


async def _encoded(worker: Worker, batch: PictureBatch) -> Encoded:
    if not worker.pipeline.catalog.models:  # An error of this first batch says why; one of `_start` would say nothing.
        await worker.start()
    return await worker.encode(batch)
