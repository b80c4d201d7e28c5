"""The numeric part of the suite as other processors compute it, on one thread and on two, alone and beside busy processes.

Sums and products are rounded differently with other instructions: what holds on one machine only is no promise. The tests run
in processes of their own, as libraries choose their instructions when they are loaded. ONNX Runtime has no such choice.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# few, and those that cancel, accumulate or compare with stored answers
NUMBERS = ("test_aggregate", "test_mixture", "test_golden", "evaluate/test_diagnostics")
# The largest model takes as long as all others.
QUICK = [
    *(f"tests/models/{name}.py" for name in NUMBERS),
    "--deselect=tests/models/test_golden.py::test_the_shipped_models_give_theirs[sprites-kl]",
]
NUMERIC = [
    "tests/models",
    *(f"tests/service/{package}" for package in ("engine", "formats", "inference", "latents", "operations")),
    "tests/service/http/test_shortcut.py",
    "tests/service/observe/test_drift.py",
    "tests/service/observe/test_histogram.py",
    "tests/service/rest/routes",
    "tests/service/store",
    "tests/live/test_encode.py",
    "tests/live/test_sample.py",
]
BUSY = 4
# of numpy, what is newer than the processors that a set stands for
NEWER = {"sse": ("X86_V3", "X86_V4", "AVX"), "avx2": ("X86_V4", "AVX512")}


def numpy_without(set_name: str) -> str:
    """The names that numpy shall not use, of those that it knows and would use."""
    core = importlib.import_module("numpy._core._multiarray_umath")
    return " ".join(
        name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name) and name.startswith(NEWER[set_name])
    )


def variables(set_name: str, threads: int) -> dict[str, str]:
    """The environment in which torch, its libraries and numpy use the instructions of such a processor."""
    torch_name, onednn, mkl = {"sse": ("default", "SSE41", "SSE4_2"), "avx2": ("avx2", "AVX2", "AVX2")}[set_name]
    return {
        "ATEN_CPU_CAPABILITY": torch_name,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "MKL_ENABLE_INSTRUCTIONS": mkl,
        "NPY_DISABLE_CPU_FEATURES": numpy_without(set_name),
        "OMP_NUM_THREADS": str(threads),
    }


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Beside so many processes that never pause."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run(tests: Sequence[str], changed: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **changed}, capture_output=True, text=True)
    assert done.returncode == 0, f"{changed}\n{done.stdout[-20_000:]}\n{done.stderr[-2_000:]}"


def test_the_instructions_are_those_that_were_asked_for() -> None:
    said = "import torch, numpy; print(torch.backends.cpu.get_cpu_capability())"
    changed = variables("sse", 1)
    done = subprocess.run(
        [sys.executable, "-c", said], env={**os.environ, **changed}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in ("DEFAULT", "NO AVX"), done.stdout
    assert done.stderr == ""


def test_a_few_without_vector_instructions() -> None:
    run(QUICK, variables("sse", 1))


@pytest.mark.soak
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("set_name", ["sse", "avx2"])
def test_all_with_the_instructions_of_other_processors(set_name: str, threads: int) -> None:
    run(NUMERIC, variables(set_name, threads))


@pytest.mark.soak
@pytest.mark.parametrize("set_name", ["sse", "avx2", None])
def test_all_beside_busy_processes(set_name: str | None) -> None:
    with busy(BUSY):
        run(NUMERIC, {} if set_name is None else variables(set_name, 2))
