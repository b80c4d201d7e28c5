"""Choose the device and the threads for training and evaluation, and recognise that the memory is full."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.readers.left_out import plural
from models.train.ranks import Ranks
from models.train.training_error import TrainingError


class DeviceError(Exception):
    """The device does not exist or does not work."""


def choose_device(name: str) -> torch.device:
    """Return a device after testing it; "auto" is the GPU if there is one. Raises DeviceError."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        # Measured values are summed in float64, which Apple's GPUs (mps) lack; torch says so by a TypeError.
        torch.zeros(1, device=device, dtype=torch.float64).cpu()
    except (RuntimeError, AssertionError, TypeError) as error:  # torch without CUDA raises AssertionError.
        raise DeviceError(f"cannot use the device {name!r}: {str(error).splitlines()[0]}") from error
    return device


def own_device(name: str, ranks: Ranks) -> torch.device:
    """Return the device of one process of a run: of several on a machine, each has a GPU to itself. Raises DeviceError."""
    if ranks.size == 1 or name not in ("auto", "cuda"):
        if ranks.size > 1 and name.startswith("cuda:"):
            raise DeviceError(
                f"--device {name} is one GPU, but torchrun started {ranks.size} processes, and each needs its own: use "
                "--device cuda, with which they take GPU 0, 1, ..., or --device cpu"
            )
        return choose_device(name)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not gpus and name == "auto":
        return choose_device("cpu")
    if ranks.local_size > gpus:
        fewer = f"--nproc_per_node={gpus} or " if gpus > 1 else "one process (without torchrun) or " if gpus else ""
        found = plural(gpus, "GPU") if gpus else "no GPU that torch can use"
        raise DeviceError(
            f"torchrun started {ranks.local_size} processes on this machine, which has {found}: each needs its own, so use "
            f"{fewer}--device cpu"
        )
    torch.cuda.set_device(ranks.local_rank)
    return choose_device(f"cuda:{ranks.local_rank}")


def set_threads(threads: int | None, ranks: Ranks) -> None:
    """Set threads on the CPU; by default, the processes of a machine share its cores."""
    if threads is None and ranks.size > 1:  # torchrun sets one thread for each process, however many cores there are.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = max(1, cores // ranks.local_size)
    if threads:
        torch.set_num_threads(threads)


@contextmanager
def full_memory_explained() -> Iterator[None]:
    """Raise TrainingError if the memory is full."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            "the memory is full: start again with a smaller --batch-size, --samples or --size, or a smaller net"
        ) from None


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the device or the process has no memory left. On the CPU, torch raises a plain RuntimeError."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
