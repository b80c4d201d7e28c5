"""A function that ONNX Runtime computes on the CPU: faster than torch there, most of all in small batches.

The function is exported when it is loaded, and its answers are compared with torch's. Knows nothing of models, lanes or
requests.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from models.onnx_graph import is_installed, onnx_bytes, onnx_runtime
from service.engine.programs.torch_program import Function, Rows, stage

# Largest allowed difference from torch's answers, relative and absolute.
TOLERANCE = 1e-5
# Number of rows on which both are compared.
COMPARED_ROWS = 16
# Shorter batches gain nothing from more threads, which would also take cores from the callers. For others, more threads are
# used only if they take less than this share of the time.
LEAST_SHARED_SECONDS, CLEARLY = 0.0005, 0.95
TIMED_RUNS = 5


class OnnxUnusable(Exception):
    """ONNX Runtime is not installed, cannot compute the function, or gives other answers than torch."""


def installed_version() -> str:
    """Return the version of ONNX Runtime, or "none" if it is not installed."""
    return version("onnxruntime") if find_spec("onnxruntime") else "none"


class Sessions(NamedTuple):
    """Sessions of ONNX Runtime for one function: one for small batches, and one for all others, perhaps with more threads."""

    small: Any
    large: Any
    first_large: int  # rows of the smallest batch that is not small

    def of(self, rows: int) -> Any:
        """Return the session for batches of so many rows."""
        return self.small if rows < self.first_large else self.large


class OnnxProgram:
    """Runs sessions of ONNX Runtime. It computes one batch at a time; uint8 rows are divided by 255, as models do."""

    engine: ClassVar[str] = "onnx"

    def __init__(self, sessions: Sessions, examples: Rows) -> None:
        """Wrap what `start_sessions` has made. `examples`: typical rows (max_batch, *row_shape)."""
        self._sessions = sessions
        self._staged = np.zeros_like(examples)
        self._floats = self._staged if examples.dtype == np.float32 else np.zeros(examples.shape, np.float32)
        answers = _run(sessions.small, self._floats[:1])
        self._answers = np.empty((len(examples), *answers.shape[1:]), np.float32)
        self._bound: dict[int, Callable[[], None]] = {}

    def __call__(self, blocks: Sequence[Rows], bucket: int) -> Rows:
        rows = stage(blocks, self._staged[:bucket])
        if self._staged is not self._floats:
            np.divide(self._staged[:bucket], np.float32(255), out=self._floats[:bucket], dtype=np.float32)
        run = self._bound.get(bucket)
        if run is None:
            session = self._sessions.of(bucket)
            run = self._bound[bucket] = _bind(session, self._floats[:bucket], self._answers[:bucket])
        run()
        return self._answers[:rows].copy()  # The next batch overwrites them.


def start_sessions(
    function: Function, examples: Rows, threads: int, loop_threads: int = 0, short_seconds: float = math.inf
) -> Sessions:
    """Make sessions that compute a function of float32 rows, with `threads` threads. Raise OnnxUnusable.

    Large batches get `loop_threads` threads instead if one like the examples then takes at most `short_seconds` (such a batch
    runs on the event loop, which needs no core meanwhile), is clearly faster (some operators are not), and gives the same
    bits.
    """
    if not is_installed():
        raise OnnxUnusable("ONNX Runtime is not installed; install it with: pip install 'vae-service[onnx]'")
    try:
        model = onnx_bytes(function, {"rows": torch.from_numpy(examples[:COMPARED_ROWS])}, ["answers"])
        session = _open(model, threads)
        answers = _run(session, examples[:COMPARED_ROWS])
    except Exception as error:  # exporter and runtime raise many unrelated types
        raise OnnxUnusable(f"ONNX Runtime cannot compute this model: {error}") from error
    with torch.inference_mode():
        wanted = function(torch.from_numpy(examples[:COMPARED_ROWS])).numpy()
    if not np.allclose(answers, wanted, TOLERANCE, TOLERANCE, equal_nan=True):
        raise OnnxUnusable(f"the answers of ONNX Runtime differ from torch's by up to {np.abs(answers - wanted).max():.2g}")
    if threads < loop_threads:
        [(alone, _)] = _race((session,), examples)
        if LEAST_SHARED_SECONDS < alone < short_seconds * loop_threads / threads:  # otherwise more threads cannot help
            shared = _open(model, loop_threads, spinning=True)
            (alone, answers), (together, same) = _race((session, shared), examples)
            is_faster = together < min(short_seconds, CLEARLY * alone)
            if is_faster and np.array_equal(answers, same, equal_nan=True):
                return Sessions(session, shared, math.ceil(len(examples) * LEAST_SHARED_SECONDS / alone))
    return Sessions(session, session, 0)


def _open(model: bytes, threads: int, spinning: bool = False) -> Any:
    """Open a session. `spinning`: its threads busy-wait for each other during a batch, when nobody else needs their cores."""
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.add_session_config_entry("session.force_spinning_stop", "1")  # no busy-waiting between batches
    options.add_session_config_entry("session.use_env_allocators", "1")
    _share_memory()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    session._model_bytes = None  # as large as the weights, and needed only to fall back to other hardware
    return session


def _run(session: Any, rows: Rows) -> Rows:
    answers: Rows = session.run(None, {"rows": rows})[0]
    return answers


def _bind(session: Any, rows: Rows, answers: Rows) -> Callable[[], None]:
    """Return what computes float32 rows in place: from and to these arrays, without the copies and checks of `_run`."""
    binding = session.io_binding()
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    binding.bind_input(given.name, "cpu", 0, np.float32, rows.shape, rows.ctypes.data)
    binding.bind_output(made.name, "cpu", 0, np.float32, answers.shape, answers.ctypes.data)
    return partial(session.run_with_iobinding, binding)


def _race(sessions: Sequence[Any], rows: Rows) -> list[tuple[float, Rows]]:
    """Time a few runs of each session, taking turns. Return the fastest time of each, with its answers."""
    runs = []
    for _ in range(TIMED_RUNS):
        for session in sessions:
            started = time.perf_counter()
            answers = _run(session, rows)
            runs.append((time.perf_counter() - started, answers))
    return [min(runs[i :: len(sessions)], key=itemgetter(0)) for i in range(len(sessions))]


@cache
def _share_memory() -> None:
    """Make all sessions allocate activations from one pool: only one runs at a time, yet each would keep its own pool."""
    from onnxruntime import OrtAllocatorType, OrtArenaCfg, OrtMemoryInfo, OrtMemType, create_and_register_allocator

    memory = OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)
    create_and_register_allocator(memory, OrtArenaCfg({"arena_extend_strategy": 1}))  # grow by what is needed, not double
