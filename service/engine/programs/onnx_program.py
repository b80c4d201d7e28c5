"""A function computed on the CPU by ONNX Runtime instead of torch: faster there, and most of all in small batches.

The function is exported when it is loaded, and must answer like torch. Knows nothing of models, lanes or requests.
"""

import io
import math
import os
import time
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from service.engine.programs.torch_program import Function, Rows, stage

# how far an answer may be from torch's, relative and absolute
TOLERANCE = 1e-5
# by how many rows they are compared
COMPARED_ROWS = 16
# batches that are shorter gain nothing from more threads; and threads must pay
LEAST_SHARED_SECONDS, CLEARLY = 0.0005, 0.95
TIMED_RUNS = 5


class OnnxUnusable(Exception):
    """ONNX Runtime is not installed, cannot compute the function, or computes something else."""


def is_installed() -> bool:
    """Whether the extra `onnx` is there."""
    return find_spec("onnxruntime") is not None and find_spec("onnx") is not None


def installed_version() -> str:
    """Of ONNX Runtime; "none" without it."""
    return version("onnxruntime") if find_spec("onnxruntime") else "none"


class OnnxProgram:
    """A session of ONNX Runtime. One batch at a time; uint8 rows are divided by 255, as models do."""

    def __init__(self, session: Any, examples: Rows) -> None:
        """`session`: from `start_session`; `examples`: (max_batch, *row_shape), rows like those that will come."""
        self._session = session
        self._staged = np.zeros_like(examples)
        self._floats = self._staged if examples.dtype == np.float32 else np.zeros(examples.shape, np.float32)

    def __call__(self, blocks: Sequence[Rows], bucket: int) -> Rows:
        rows, batch = stage(blocks, self._staged[:bucket]), self._floats[:bucket]
        if self._staged is not self._floats:
            np.divide(self._staged[:bucket], np.float32(255), out=batch, dtype=np.float32)
        return _run(self._session, batch)[:rows]


def start_session(
    function: Function, examples: Rows, threads: int, loop_threads: int = 0, short_seconds: float = math.inf
) -> Any:
    """A session that computes a function of float32 rows, with so many threads. Raises OnnxUnusable.

    Or with `loop_threads`, when a batch like the examples is then done within `short_seconds`, so that it will run on the
    event loop, which needs no core meanwhile; when that is clearly faster (some operators are slower); and with the same bits.
    """
    if not is_installed():
        raise OnnxUnusable("ONNX Runtime is not installed: pip install 'vae-service[onnx]'")
    try:
        model = _export(function, examples[:COMPARED_ROWS])
        session = _open(model, threads)
        answers = _run(session, examples[:COMPARED_ROWS])
    except Exception as error:  # of a kind of their own for each defect
        raise OnnxUnusable(f"ONNX Runtime cannot compute it: {error}") from error
    with torch.inference_mode():
        wanted = function(torch.from_numpy(examples[:COMPARED_ROWS])).numpy()
    if not np.allclose(answers, wanted, TOLERANCE, TOLERANCE, equal_nan=True):
        raise OnnxUnusable(f"ONNX Runtime is up to {np.abs(answers - wanted).max():.2g} away from torch")
    if threads < loop_threads:
        [(alone, _)] = _race((session,), examples)
        if LEAST_SHARED_SECONDS < alone < short_seconds * loop_threads / threads:  # or the others are not worth their start
            shared = _open(model, loop_threads, spinning=True)
            (alone, answers), (together, same) = _race((session, shared), examples)
            is_faster = together < min(short_seconds, CLEARLY * alone)
            if is_faster and np.array_equal(answers, same, equal_nan=True):
                return shared
    return session


def _open(model: bytes, threads: int, spinning: bool = False) -> Any:
    """A session. `spinning`: its threads wait for each other awake while a batch runs, since nobody wants their cores then."""
    # from 1.29 on it writes an identifier into the home directory and reports processes and models to its maker, unless this
    # stands there when it is first imported
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.add_session_config_entry("session.force_spinning_stop", "1")  # and not after it
    options.add_session_config_entry("session.use_env_allocators", "1")
    _share_memory()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    session._model_bytes = None  # as large as the weights, and kept for a fallback to other hardware alone
    return session


def _run(session: Any, rows: Rows) -> Rows:
    answers: Rows = session.run(None, {"rows": rows})[0]
    return answers


def _race(sessions: Sequence[Any], rows: Rows) -> list[tuple[float, Rows]]:
    """The fastest of a few runs of each, in turn, and its answers."""
    runs = []
    for _ in range(TIMED_RUNS):
        for session in sessions:
            started = time.perf_counter()
            answers = _run(session, rows)
            runs.append((time.perf_counter() - started, answers))
    return [min(runs[i :: len(sessions)], key=itemgetter(0)) for i in range(len(sessions))]


@cache
def _share_memory() -> None:
    """Have all sessions take their activations from one pool: one runs at a time, and each would keep a pool of its own."""
    from onnxruntime import OrtAllocatorType, OrtArenaCfg, OrtMemoryInfo, OrtMemType, create_and_register_allocator

    memory = OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)
    create_and_register_allocator(memory, OrtArenaCfg({"arena_extend_strategy": 1}))  # by what is asked for, not doubled


class _Module(nn.Module):
    """A function as the exporter takes it."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self._function = function

    def forward(self, rows: Tensor) -> Tensor:
        """The function's."""
        return self._function(rows)


def _export(function: Function, examples: Rows) -> bytes:
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the traced exporter is old; the new one needs ten times as long
        torch.onnx.export(
            _Module(function),
            (torch.from_numpy(examples),),
            file,  # type: ignore[arg-type]
            input_names=["rows"],
            output_names=["answers"],
            dynamic_axes={"rows": {0: "batch"}, "answers": {0: "batch"}},
            dynamo=False,
        )
    return file.getvalue()
