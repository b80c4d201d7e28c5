"""The encoder alone, for the benchmark of bulk encoding: processes that encode pictures in memory."""

import asyncio
import time
from multiprocessing import get_context
from typing import Any

from models.checkpoint import read
from models.preprocess import Pixels
from service.bulk.load import BATCH
from service.bulk.worker import Work, Worker
from service.engine.device import QueueLimits
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.settings import SHIPPED_WEIGHTS, Settings


def bare(model: str, pictures: Pixels, processes: int, threads: int, seconds: float) -> tuple[float, float]:
    """Return the pictures that all processes encode in a second, and the CPU time of one in microseconds."""
    context = get_context("spawn")
    together, found = context.Barrier(processes), context.SimpleQueue()
    work = work_of(model, threads)
    own = [context.Process(target=_run, args=(work, pictures, seconds, together, found)) for _ in range(processes)]
    for one in own:
        one.start()
    results = [found.get() for _ in own]
    for one in own:
        one.join()
    return sum(count / wall for count, wall, _ in results), 1e6 * sum(cpu for *_, cpu in results) / sum(n for n, *_ in results)


def work_of(model: str, threads: int) -> Work:
    """Return what the load's encoders have with the default settings."""
    own = Settings()
    limits = QueueLimits(own.max_batch, own.max_queue_rows, own.max_rows)
    digest = read(SHIPPED_WEIGHTS / model).digest
    how = (own.engine, own.precision, own.max_pixels, own.max_decoded_bytes, own.decode_seconds)
    return Work(SHIPPED_WEIGHTS, model, digest, "cpu", threads, limits, *how)


def _run(work: Work, pictures: Pixels, seconds: float, together: Any, found: Any) -> None:
    found.put(asyncio.run(_encode(work, pictures, seconds, together)))


async def _encode(work: Work, pictures: Pixels, seconds: float, together: Any) -> tuple[int, float, float]:
    worker = Worker(work)
    await worker.start()
    blocks = [pictures[first : first + BATCH] for first in range(0, len(pictures) - BATCH + 1, BATCH)]
    count = 0
    await worker.pipeline.encode(RawItems(rows=blocks[0]), Inference(worker.model))
    together.wait()
    start, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        for block in blocks:
            await worker.pipeline.encode(RawItems(rows=block), Inference(worker.model))
            count += len(block)
    result = count, time.perf_counter() - start, time.process_time() - cpu
    together.wait()  # Until all have ended, none leaves the cores to the others.
    await worker.close()
    return result
