"""A function on an NVIDIA GPU: a CUDA graph for each batch size, copies beside the computation of other batches.

Launching a net of twenty kernels one by one takes longer than the GPU needs for them; a graph is one launch. Rows go through
pinned memory on a stream of their own in, and another one out, so that the copies of one batch overlap the computation of
the other where two workers run batches. Knows nothing of models, lanes or requests.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from service.engine.programs.torch_program import Function, Rows, stage

log = logging.getLogger(__name__)

# runs before a capture: libraries choose kernels and allocate in the first ones, which a graph cannot hold
WARM_UP_RUNS = 3


class Streams:
    """What all programs of a GPU share: the order of its work, and the lock of whoever adds to it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.inward = torch.cuda.Stream(device)
        self.compute = torch.cuda.Stream(device)
        self.outward = torch.cuda.Stream(device)
        self.launching = threading.Lock()  # inputs and outputs of a graph lie in fixed places: one launch at a time
        self.graphs = torch.cuda.graph_pool_handle()  # graphs run one after the other: they share their memory


@dataclass(frozen=True)
class _Graph:
    """A captured batch: copy rows to `rows`, replay, read `answers`."""

    graph: torch.cuda.CUDAGraph
    rows: Tensor
    answers: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        self.rows.copy_(rows)
        self.graph.replay()
        return self.answers.clone()  # the next replay overwrites them


class CudaProgram:
    """Any number of batches at a time: the compute stream brings them into order."""

    def __init__(self, function: Function, streams: Streams, examples: Rows) -> None:
        """`examples`: (max_batch, *row_shape), rows like those that will come."""
        self._function, self._streams = function, streams
        self._row_shape, self._dtype = examples.shape[1:], torch.from_numpy(examples[:0]).dtype
        self._buckets: dict[int, Function] = {}  # a graph, or the function itself where a capture failed

    def __call__(self, blocks: Sequence[Rows], bucket: int) -> Rows:
        streams = self._streams
        host = torch.empty((bucket, *self._row_shape), dtype=self._dtype, pin_memory=True)  # torch keeps a pool of these
        rows = stage(blocks, host.numpy())
        with torch.inference_mode():
            with torch.cuda.stream(streams.inward):
                batch = host.to(streams.device, non_blocking=True)
                copied = streams.inward.record_event()
            with streams.launching, torch.cuda.stream(streams.compute):
                streams.compute.wait_event(copied)
                if bucket not in self._buckets:  # before it serves: only checked buckets are used
                    self._buckets[bucket] = self._capture(batch)
                answers = self._buckets[bucket](batch)
                computed = streams.compute.record_event()
            with torch.cuda.stream(streams.outward):
                streams.outward.wait_event(computed)
                output = torch.empty(answers.shape, dtype=answers.dtype, pin_memory=True)
                output.copy_(answers, non_blocking=True)
                done = torch.cuda.Event(blocking=True)  # a waiting thread must not take a core
                done.record(streams.outward)
        done.synchronize()  # `host`, `batch` and `answers` stay alive until here
        return np.asarray(output.numpy()[:rows])

    def _capture(self, batch: Tensor) -> Function:
        """A graph for batches of this size; the function itself, with a word in the log, where that fails."""
        graph, static = torch.cuda.CUDAGraph(), batch.clone()
        try:
            for _ in range(WARM_UP_RUNS):
                self._function(static)
            torch.cuda.synchronize(self._streams.device)
            # "thread_local": another worker may copy and allocate for a model that serves already
            with torch.cuda.graph(graph, self._streams.graphs, self._streams.compute, capture_error_mode="thread_local"):
                answers = self._function(static)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "out of memory" in str(error) or "captur" not in str(error):
                raise
            log.warning("batches of %d run without a CUDA graph: %s", len(batch), str(error).splitlines()[0])
            torch.cuda.synchronize(self._streams.device)
            return self._function
        return _Graph(graph, static, answers)
