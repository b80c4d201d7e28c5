"""One device that runs batches in turn for all lanes: which programs compute there, with how many threads, how exactly.

Knows nothing of models or requests: an operation is any function of a tensor of rows.
"""

import gc
import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from service.batcher import Batcher
from service.cuda_program import CudaProgram, Streams
from service.lane import Lane
from service.onnx_program import OnnxProgram, OnnxUnusable, is_installed
from service.operation import NotInvariant, Operation, smaller_buckets
from service.program import Function, Program, Rows, TorchProgram

log = logging.getLogger(__name__)

EngineName = Literal["auto", "torch", "onnx"]
Precision = Literal["float32", "tf32", "bf16"]

# Batches that take less run on the event loop: short enough that other requests do not notice.
SHORT_SECONDS = 0.003
# Batches on their way through a GPU: one computes while the other is copied.
GPU_BATCHES = 2


class DeviceUnusable(Exception):
    """There is no such device, it does not work, or it cannot compute as it is asked to."""


@dataclass(frozen=True)
class Limits:
    """Bounds of every lane, in rows."""

    max_batch: int = 64
    max_queue_rows: int = 8192
    max_rows: int = 4096


class Device:
    """The accelerator, or the CPU, behind one batcher. `start` before use, `close` after."""

    def __init__(
        self,
        name: str = "auto",
        threads: int = 0,
        limits: Limits | None = None,
        engine: EngineName = "auto",
        precision: Precision = "float32",
    ) -> None:
        self.torch_device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        self.threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self.limits = limits or Limits()
        self.engine, self.precision = engine, precision
        on_cpu = self.torch_device.type == "cpu"
        if engine == "auto":
            self.engine = "onnx" if on_cpu and precision == "float32" and is_installed() else "torch"
        self._fallback = engine == "auto"
        self._streams: Streams | None = None
        self._batcher = Batcher("device", 1 if on_cpu else GPU_BATCHES, SHORT_SECONDS if on_cpu else 0.0)

    @property
    def lost(self) -> str:
        """Why the device is gone, or an empty string."""
        return self._batcher.lost

    def start(self) -> None:
        """Start the device's threads. Raises DeviceUnusable."""
        if self.engine == "onnx" and (self.torch_device.type != "cpu" or self.precision != "float32"):
            raise DeviceUnusable(
                f"the engine onnx computes in float32 on the CPU, not in {self.precision} on {self.torch_device}"
            )
        torch.set_num_threads(self.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        torch.backends.cudnn.deterministic = True
        try:
            torch.zeros(1, device=self.torch_device).cpu()
            self._streams = Streams(self.torch_device) if self.torch_device.type == "cuda" else None
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            raise DeviceUnusable(f"cannot use the device {self.torch_device}: {error}") from error
        self._batcher.start()

    async def lane(self, function: Function, examples: Rows) -> Lane:
        """A warmed-up lane for a function of rows like `examples` (max_batch, *row_shape). Raises DeviceUnusable.

        Where rows depend on their place in batches of max_batch, the lane gets smaller ones: answers come first.
        """
        operation, reference = await self._operation(self._with_precision(function), examples)
        for bucket in smaller_buckets(operation.reference):
            await self._batcher.call(partial(operation.try_bucket, bucket, reference))
        log.debug("seconds by bucket: %s", operation.bucket_seconds)
        return self._batcher.lane(
            operation,
            np.concatenate,
            max_batch=operation.reference,
            max_queue_rows=self.limits.max_queue_rows,
            max_rows=self.limits.max_rows,
            seconds=operation.seconds,
            padding=operation.padding,
        )

    async def _operation(self, function: Function, examples: Rows) -> tuple[Operation, Rows]:
        """The operation with the largest reference that keeps its rows independent of their place, and its answers."""
        size = len(examples)
        while True:
            operation = Operation(await self._batcher.call(partial(self._program, function, examples[:size])), examples[:size])
            try:
                return operation, await self._batcher.call(operation.check_reference)
            except NotInvariant as error:  # cannot happen to a batch of one row
                size = size // 2 if size > 8 else 1
                log.warning("%s: batches of %d are used instead", error, size)

    def _program(self, function: Function, examples: Rows) -> Program:
        if self._streams is not None:
            return CudaProgram(function, examples, self._streams)
        if self.engine == "onnx":
            try:
                return OnnxProgram(function, examples, self.threads)
            except OnnxUnusable as error:
                if not self._fallback:
                    raise DeviceUnusable(str(error)) from error
                log.warning("%s; torch is used instead", error)
        return TorchProgram(function, examples, self.torch_device)

    def _with_precision(self, function: Function) -> Function:
        if self.precision != "bf16":
            return function

        def in_bf16(rows: Tensor) -> Tensor:
            # without its cache, which does not live long enough for a graph
            with torch.autocast(self.torch_device.type, torch.bfloat16, cache_enabled=False):
                return function(rows)

        return in_bf16

    async def close(self) -> None:
        """Finish what was admitted and end the threads."""
        await self._batcher.close()


def freeze_garbage_collector() -> None:
    """Take what start-up made out of every later collection: torch leaves so many objects that one takes 100 ms."""
    gc.collect()
    gc.freeze()
