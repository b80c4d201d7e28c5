"""A function on an NVIDIA GPU: a CUDA graph for each batch size, with copies beside the computation of other batches.

Launching a net of twenty kernels one by one takes longer than the GPU needs to compute them; a graph is one launch. Rows are
copied through pinned memory, on one stream in and on another one out, so that the copies of one batch overlap with the
computation of the other if two workers run batches. Knows nothing of models, lanes or requests.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from service.engine.programs.torch_program import Function, Rows, stage

log = logging.getLogger(__name__)

# Runs before a capture: libraries choose kernels and allocate memory in the first runs, which a graph cannot record.
WARM_UP_RUNS = 3


class Streams:
    """The CUDA streams that all programs of a GPU share, the lock for launches, and the memory pool of their graphs."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.inward = torch.cuda.Stream(device)
        self.compute = torch.cuda.Stream(device)
        self.outward = torch.cuda.Stream(device)
        self.launching = threading.Lock()  # a graph has fixed input and output buffers, so only one launch at a time
        self.graphs = torch.cuda.graph_pool_handle()  # graphs run one after the other, so they can share memory


@dataclass(frozen=True)
class _Graph:
    """A captured batch size: copy rows to `rows`, replay the graph, read `answers`."""

    graph: torch.cuda.CUDAGraph
    rows: Tensor
    answers: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        self.rows.copy_(rows)
        self.graph.replay()
        return self.answers.clone()  # the next replay overwrites the answers


class CudaProgram:
    """A function that runs as CUDA graphs. It takes any number of batches at a time; the compute stream orders them."""

    engine: ClassVar[str] = "torch"

    def __init__(self, function: Function, streams: Streams, examples: Rows) -> None:
        """Capture nothing yet. `examples`: typical rows (max_batch, *row_shape)."""
        self._function, self._streams = function, streams
        self._row_shape, self._dtype = examples.shape[1:], torch.from_numpy(examples[:0]).dtype
        self._buckets: dict[int, Function] = {}  # a graph, or the function itself if its capture failed

    def __call__(self, blocks: Sequence[Rows], bucket: int) -> Rows:
        streams = self._streams
        host = torch.empty((bucket, *self._row_shape), dtype=self._dtype, pin_memory=True)  # from torch's pool: cheap
        rows = stage(blocks, host.numpy())
        with torch.inference_mode():
            with torch.cuda.stream(streams.inward):
                batch = host.to(streams.device, non_blocking=True)
                copied = streams.inward.record_event()
            with streams.launching, torch.cuda.stream(streams.compute):
                streams.compute.wait_event(copied)
                if bucket not in self._buckets:  # only before it serves, since every bucket is checked before it is used
                    self._buckets[bucket] = self._capture(batch)
                answers = self._buckets[bucket](batch)
                computed = streams.compute.record_event()
            with torch.cuda.stream(streams.outward):
                streams.outward.wait_event(computed)
                output = torch.empty(answers.shape, dtype=answers.dtype, pin_memory=True)
                output.copy_(answers, non_blocking=True)
                done = torch.cuda.Event(blocking=True)  # a thread that waits for it must not keep a core busy
                done.record(streams.outward)
        done.synchronize()  # `host`, `batch` and `answers` stay alive until here
        return np.asarray(output.numpy()[:rows])

    def _capture(self, batch: Tensor) -> Function:
        """Return a graph for batches of this size, or, with a warning in the log, the function itself if that fails."""
        graph, static = torch.cuda.CUDAGraph(), batch.clone()
        try:
            for _ in range(WARM_UP_RUNS):
                self._function(static)
            torch.cuda.synchronize(self._streams.device)
            # "thread_local", because another worker may copy and allocate memory for a model that is already serving.
            with torch.cuda.graph(graph, self._streams.graphs, self._streams.compute, capture_error_mode="thread_local"):
                answers = self._function(static)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "out of memory" in str(error) or "captur" not in str(error):
                raise
            log.warning("batches of %d rows run without a CUDA graph: %s", len(batch), str(error).splitlines()[0])
            torch.cuda.synchronize(self._streams.device)
            return self._function
        return _Graph(graph, static, answers)
