"""One device that runs one batch at a time, in turn for all lanes; batches are padded to a few sizes (buckets).

Fixed shapes make an answer independent of its batch-mates. The bucket `max_batch` is the reference; a smaller one is used
only if its rows equal the reference's bit for bit, which is checked on the model's own weights before it serves. Knows
nothing of models or requests: an operation is any function of a tensor of rows.
"""

import gc
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.batcher import Batcher
from service.gate import DeviceLost
from service.lane import Lane

log = logging.getLogger(__name__)

Rows = NDArray[Any]

# Rows are computed alike in batches of multiples of 8 by the CPU build of torch, and differently in batches of 1, 2, 3, 7.
SMALLEST_BUCKET = 8
TIMED_RUNS = 5


class NotInvariant(Exception):
    """An operation whose rows depend on their place in the batch: it cannot keep the promise of equal answers."""


class DeviceUnusable(Exception):
    """There is no such device, or it does not work."""


@dataclass(frozen=True)
class Limits:
    """Bounds of every lane, in rows."""

    max_batch: int = 64
    max_queue_rows: int = 8192
    max_rows: int = 4096


class Operation:
    """A function of (bucket, *row_shape) on the device, fed with blocks of rows from the host."""

    def __init__(self, function: Callable[[Tensor], Tensor], examples: Rows, device: torch.device) -> None:
        """`examples`: (max_batch, *row_shape), rows like those that will come, for warm-up and checks."""
        self._function, self._device, self._examples = function, device, examples
        self.reference = len(examples)
        self.buckets: list[int] = [self.reference]
        self._staging = torch.zeros(
            examples.shape, dtype=torch.from_numpy(examples[:0]).dtype, pin_memory=device.type == "cuda"
        )
        self._staged = self._staging.numpy()
        self.padded_rows = 0

    def __call__(self, blocks: list[Rows]) -> list[Rows]:
        """The batch function of the operation's lane: one block of answers for each block of rows."""
        end = 0
        for block in blocks:
            self._staged[end : end + len(block)] = block
            end += len(block)
        try:
            try:
                output = self._run(end, self._bucket(end))
            except torch.OutOfMemoryError:
                output = self._run_in_halves(end)
        except RuntimeError as error:
            if "CUDA error" in str(error):  # sticky: every later call fails too
                raise DeviceLost(f"{self._device} is lost: {str(error).splitlines()[0]}") from error
            raise
        answers, start = [], 0
        for block in blocks:
            answers.append(output[start : start + len(block)])
            start += len(block)
        return answers

    def _bucket(self, rows: int) -> int:
        return next(bucket for bucket in self.buckets if bucket >= rows)

    def _run(self, rows: int, bucket: int) -> Rows:
        """The first `rows` staged rows as a batch of `bucket`."""
        staged = self._staging[:bucket]
        staged[rows:] = 0
        self.padded_rows += bucket - rows
        with torch.inference_mode():
            output: Rows = self._function(staged.to(self._device, non_blocking=True)).cpu().numpy()
        if np.may_share_memory(output, self._staged):  # the next batch would overwrite it
            output = output.copy()
        return output[:rows]

    def _run_in_halves(self, rows: int) -> Rows:
        """Once more after the device ran out of memory: its cache freed, in the largest bucket of half the size."""
        torch.cuda.empty_cache()
        smaller = [bucket for bucket in self.buckets if bucket <= max(self._bucket(rows) // 2, self.buckets[0])]
        size, saved = smaller[-1], self._staged[:rows].copy()
        outputs = []
        for start in range(0, rows, size):
            part = saved[start : start + size]
            self._staged[: len(part)] = part
            outputs.append(self._run(len(part), size))
        return np.concatenate(outputs)

    # What follows runs before the operation serves, a bucket a turn.

    def check_reference(self) -> Rows:
        """The reference's rows for the examples. Raises NotInvariant if they depend on their place in the batch."""
        reference = self._of_examples(0)
        for shift in (1, self.reference // 2, self.reference - 1):
            if not np.array_equal(np.roll(self._of_examples(shift), -shift, axis=0), reference, equal_nan=True):
                raise NotInvariant(f"in batches of {self.reference} a row's answer depends on its place")
        return reference

    def try_bucket(self, bucket: int, reference: Rows) -> None:
        """Use a smaller bucket if its rows equal the reference's and it is faster than the next one."""
        for start in range(0, self.reference - bucket + 1, 3):  # odd steps: every place in the batch gets its turn
            self._staged[:bucket] = self._examples[start : start + bucket]
            if not np.array_equal(self._run(bucket, bucket), reference[start : start + bucket], equal_nan=True):
                log.debug("batches of %d differ from those of %d: not used", bucket, self.reference)
                return
        if self._seconds(bucket) < self._seconds(self.buckets[0]):
            self.buckets.insert(0, bucket)

    def _of_examples(self, shift: int) -> Rows:
        self._staged[:] = np.roll(self._examples, shift, axis=0)
        return self._run(self.reference, self.reference)

    def _seconds(self, bucket: int) -> float:
        times = []
        for _ in range(TIMED_RUNS):
            started = time.perf_counter()
            self._run(bucket, bucket)
            times.append(time.perf_counter() - started)
        return min(times)


class Device:
    """The accelerator, or the CPU, behind one batcher. `start` before use, `close` after."""

    def __init__(self, name: str = "auto", threads: int = 0, limits: Limits | None = None) -> None:
        self.torch_device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        self.threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self.limits = limits or Limits()
        self._batcher = Batcher("device")

    @property
    def lost(self) -> str:
        """Why the device is gone, or an empty string."""
        return self._batcher.lost

    def start(self) -> None:
        """Start the device's thread. Raises DeviceUnusable."""
        torch.set_num_threads(self.threads)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        try:
            torch.zeros(1, device=self.torch_device).cpu()
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            raise DeviceUnusable(f"cannot use the device {self.torch_device}: {error}") from error
        self._batcher.start()

    async def lane(self, function: Callable[[Tensor], Tensor], examples: Rows) -> Lane:
        """A warmed-up lane for a function of rows like `examples` (max_batch, *row_shape).

        Where rows depend on their place in batches of max_batch, the lane gets smaller ones: answers come first.
        """
        operation, reference = await self._operation(function, examples)
        bucket = operation.reference // 2
        while bucket >= SMALLEST_BUCKET:
            if bucket % SMALLEST_BUCKET == 0:
                await self._batcher.call(partial(operation.try_bucket, bucket, reference))
            bucket //= 2
        log.debug("buckets: %s", operation.buckets)

        def run(blocks: list[Rows]) -> list[Rows]:
            before = operation.padded_rows
            answers = operation(blocks)
            lane.stats.padded_rows += operation.padded_rows - before
            return answers

        lane = self._batcher.lane(
            run,
            np.concatenate,
            max_batch=operation.reference,
            max_queue_rows=self.limits.max_queue_rows,
            max_rows=self.limits.max_rows,
        )
        return lane

    async def _operation(self, function: Callable[[Tensor], Tensor], examples: Rows) -> tuple[Operation, Rows]:
        """The operation with the largest reference that keeps its rows independent of their place, and its answers."""
        size = len(examples)
        while True:
            operation = Operation(function, examples[:size], self.torch_device)
            try:
                return operation, await self._batcher.call(operation.check_reference)
            except NotInvariant as error:  # cannot happen to a batch of one row
                size = size // 2 if size >= 2 * SMALLEST_BUCKET else 1
                log.warning("%s: batches of %d are used instead", error, size)

    async def close(self) -> None:
        """Finish what was admitted and end the thread."""
        await self._batcher.close()


def freeze_garbage_collector() -> None:
    """Take what start-up made out of every later collection: torch leaves so many objects that one takes 100 ms."""
    gc.collect()
    gc.freeze()
