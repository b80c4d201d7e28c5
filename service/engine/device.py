"""One device that runs the batches of all lanes in turn: chooses the engine, the threads and the precision.

Knows nothing of models or requests: it computes any function of a tensor of rows.
"""

import asyncio
import logging
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.onnx_graph import is_installed
from service.engine.batcher import Batcher
from service.engine.buckets import CHECKED_ROWS, BucketedProgram, NotInvariant, Reference, Steps, smaller_buckets
from service.engine.errors import DeviceUnusable, NotFinite
from service.engine.lane import Lane, LaneConfig
from service.engine.programs.cuda_program import CudaProgram, Streams
from service.engine.programs.onnx_program import OnnxProgram, OnnxUnusable, installed_version, start_sessions
from service.engine.programs.torch_program import Function, Program, Rows, TorchProgram

log = logging.getLogger(__name__)

EngineName = Literal["auto", "torch", "onnx"]
Precision = Literal["float32", "tf32", "bf16"]

# Batches that take at most this long run on the event loop: short enough that other requests do not notice.
SHORT_SECONDS = 0.003
# Buckets are checked on so many rows in bf16, whose rounding hides most differences of its sums.
CHECKED_ROWS_BF16 = 512
# Batches that are on a GPU at the same time: one is computed while the other is copied.
GPU_BATCHES = 2

T = TypeVar("T")


@dataclass(frozen=True)
class QueueLimits:
    """Limits of every lane, in rows."""

    max_batch: int = 64
    max_queue_rows: int = 8192
    max_rows: int = 4096


class Device:
    """A GPU or the CPU behind one batcher. Call `start` before use and `close` after it."""

    def __init__(
        self,
        name: str = "auto",
        threads: int = 1,
        limits: QueueLimits | None = None,
        engine: EngineName = "auto",
        precision: Precision = "float32",
        loop_threads: int = 0,
    ) -> None:
        """Choose device and engine, without starting anything.

        `threads`: for a batch that runs beside the event loop. `loop_threads`: for a short batch on the event loop, if the
        engine is ONNX Runtime and more threads make it faster.
        """
        self.torch_device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        self.threads, self._loop_threads = threads, loop_threads
        self.limits = limits or QueueLimits()
        self.engine, self.precision = engine, precision
        on_cpu = self.torch_device.type == "cpu"
        if engine == "auto":
            self.engine = "onnx" if on_cpu and precision == "float32" and is_installed() else "torch"
        self._fallback = engine == "auto"
        self._checked_rows = CHECKED_ROWS_BF16 if precision == "bf16" else CHECKED_ROWS
        self._streams: Streams | None = None
        self._aside = ThreadPoolExecutor(1, "compiler")
        self._batcher = Batcher("device", 1 if on_cpu else GPU_BATCHES, SHORT_SECONDS if on_cpu else 0.0)

    @property
    def description(self) -> str:
        """The device, engine, precision and number of threads, as one line of text."""
        found = f"{self.torch_device} by {self.engine} in {self.precision}"
        if self.torch_device.type != "cpu":
            return found
        found += f", {self.threads} thread{'s' * (self.threads > 1)}"
        shared = self.engine == "onnx" and self.threads < self._loop_threads
        return f"{found}, up to {self._loop_threads} in a short batch" if shared else found

    @property
    def memory_bytes(self) -> int | None:
        """GPU memory that torch has reserved, or None without a GPU."""
        return int(torch.cuda.memory_reserved(self.torch_device)) if self._streams is not None else None

    @property
    def lost(self) -> str:
        """The reason why the device is lost, or an empty string."""
        return self._batcher.lost

    @property
    def seconds_without_beat(self) -> float:
        """Seconds without a sign of life of a running batch; about 0 for a device that is idle or works normally.

        A batch gives one at its start, and then where its function calls `beat`.
        """
        return self._batcher.seconds_without_beat

    def beat(self) -> None:
        """Say from within a batch that it makes progress. A function that takes long calls this after each of its parts."""
        self._batcher.beat()

    @cached_property
    def fingerprint(self) -> str:
        """Everything beside model and request that the last bits of an answer depend on. Equal fingerprints, equal bits."""
        on_cpu = self.torch_device.type == "cpu"
        hardware = torch.backends.cpu.get_cpu_capability() if on_cpu else torch.cuda.get_device_name(self.torch_device)
        versions = f"torch {torch.__version__}, numpy {np.__version__}, onnxruntime {installed_version()}"
        return f"{self.description}, batches of {self.limits.max_batch}, {platform.machine()} {hardware}, {versions}"

    def start(self) -> None:
        """Start the device's threads. Raise DeviceUnusable."""
        if self.engine == "onnx" and (self.torch_device.type != "cpu" or self.precision != "float32"):
            raise DeviceUnusable(
                f"the engine onnx computes only in float32 on the CPU, not in {self.precision} on {self.torch_device}; "
                "use the engine torch"
            )
        if self.precision == "tf32" and self.torch_device.type == "cpu":
            raise DeviceUnusable(
                "tf32 is a precision of GPUs, and the device is the CPU; use the precision float32 or bf16, or a GPU (cuda)"
            )
        torch.set_num_threads(self.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        torch.backends.cudnn.deterministic = True
        try:
            torch.zeros(1, device=self.torch_device).cpu()
            self._streams = Streams(self.torch_device) if self.torch_device.type == "cuda" else None
        except (RuntimeError, AssertionError) as error:  # torch built without CUDA raises an AssertionError
            raise DeviceUnusable(f"cannot use the device {self.torch_device}: {error}") from error
        self._batcher.start()

    async def lanes(
        self,
        function: Function,
        *examples: Rows,
        name: str = "rows",
        only_torch: bool = False,
        limits: QueueLimits | None = None,
        finite: bool = False,
    ) -> list[Lane]:
        """Make warmed-up lanes for one function: one lane for each array of examples (max_batch, *row_shape).

        The arrays differ in the type of their rows; the last one is float32. If a row's answer depends on its place in
        batches of max_batch, the lane gets smaller batches, since equal answers matter more than speed. `name` is for the
        log. `only_torch`: the function computes gradients or is recurrent, which is for torch. `limits`: of queues with larger
        rows than others, instead of the device's. `finite`: answers to the examples must be finite. Raise DeviceUnusable,
        NotFinite.
        """
        function = self._with_precision(function)
        make_program = await self.aside(partial(self._compile, function, examples[-1], only_torch))
        floats = await self._checked(make_program, examples[-1], finite=name if finite else None)
        programs = [await self._checked(make_program, rows, floats) for rows in examples[:-1]]
        made = zip(examples, [*programs, floats], strict=True)
        return [self._lane(f"{name}, {rows.dtype}", one, limits or self.limits) for rows, one in made]

    async def aside(self, work: Callable[[], T]) -> T:
        """Run work on a separate thread, beside the batches, one piece at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)

    def forget(self, lanes: Sequence[Lane]) -> None:
        """Remove lanes that nobody submits to any more."""
        for lane in lanes:
            self._batcher.remove(lane)

    async def _in_turns(self, steps: Steps[T]) -> T:
        """Run each step as a turn of its own, so that live batches come in between."""
        while True:
            ended, result = await self._batcher.call(partial(_step, steps))
            if ended:
                found: T = result
                return found

    async def _checked(
        self,
        make_program: Callable[[Rows], Program],
        examples: Rows,
        floats: BucketedProgram | None = None,
        finite: str | None = None,
    ) -> BucketedProgram:
        """Make a program with its buckets. `floats`: the program of the same function for float32 rows, already checked.

        `finite`: the name of the function if its answers to the examples must be finite.
        """
        if floats is not None:
            rows = examples[: floats.reference]
            same = make_program(rows)
            if isinstance(same, OnnxProgram):  # the same sessions compute both types of rows, and see only floats
                return BucketedProgram(same, rows, floats.bucket_seconds)
        program, reference = await self._with_reference(make_program, examples)
        if finite is not None and (bad := reference.answers.size - int(np.isfinite(reference.answers).sum())):
            raise NotFinite(f"{finite} answers to ordinary rows", bad, reference.answers.size)
        for bucket in smaller_buckets(program.reference):
            await self._in_turns(program.try_bucket(bucket, reference, self._checked_rows))
        return program

    def _lane(self, name: str, program: BucketedProgram, limits: QueueLimits) -> Lane:
        found = ", ".join(f"{bucket} rows {1e3 * seconds:.2g}" for bucket, seconds in program.bucket_seconds.items())
        log.info("%s, milliseconds per batch: %s", name, found)
        size = program.reference
        queue_rows, most_rows = limits.max_queue_rows, limits.max_rows
        return self._batcher.lane(
            LaneConfig(program, np.concatenate, size, queue_rows, most_rows, program.seconds, program.padding, program.engine)
        )

    async def _with_reference(
        self, make_program: Callable[[Rows], Program], examples: Rows
    ) -> tuple[BucketedProgram, Reference]:
        """Find the largest reference whose answers do not depend on a row's place. Return the program and the answers."""
        size = len(examples)
        while True:
            program = BucketedProgram(make_program(examples[:size]), examples[:size])
            try:
                return program, await self._in_turns(program.check_reference(self._checked_rows))
            except NotInvariant as error:  # cannot happen with a batch of one row
                size = size // 2 if size > 8 else 1
                log.warning("%s: batches of %d are used instead", error, size)

    def _compile(self, function: Function, floats: Rows, only_torch: bool = False) -> Callable[[Rows], Program]:
        """Return a function that makes a program for rows like given examples. `floats`: float32 examples."""
        if self._streams is not None:
            return partial(CudaProgram, function, self._streams)
        if self.engine == "onnx" and not only_torch:
            try:
                sessions = start_sessions(function, floats, self.threads, self._loop_threads, SHORT_SECONDS)
                return partial(OnnxProgram, sessions)
            except OnnxUnusable as error:
                if not self._fallback:
                    raise DeviceUnusable(str(error)) from error
                log.warning("%s; torch is used instead", error)
        return partial(TorchProgram, function, self.torch_device)

    def _with_precision(self, function: Function) -> Function:
        if self.precision != "bf16":
            return function

        def in_bf16(rows: Tensor) -> Tensor:
            # The cache of autocast does not live as long as a CUDA graph.
            with torch.autocast(self.torch_device.type, torch.bfloat16, cache_enabled=False):
                return function(rows)

        return in_bf16

    async def close(self) -> None:
        """Finish what was admitted and end the threads."""
        await self._batcher.close()
        self._aside.shutdown()


def _step(steps: Steps[T]) -> tuple[bool, T | None]:
    try:
        next(steps)
    except StopIteration as end:
        return True, end.value
    return False, None
