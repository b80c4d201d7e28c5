"""Memory that the processes of a run share, if all of them are on one machine. Knows nothing of gradients."""

import mmap
import os
import secrets
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from models.train.ranks import Ranks

TOKEN_BYTES = 16


def shared_memory(shape: Sequence[int], ranks: Ranks) -> Tensor | None:
    """Return the same float32 memory in all processes; None in all of them if one cannot reach it. Raises LostProcess.

    The memory has no name in a file system, so that nothing is left of it, however the processes end.
    """
    if ranks.local_size < ranks.size or not hasattr(os, "memfd_create"):
        return None
    token, size = secrets.token_bytes(TOKEN_BYTES), max(TOKEN_BYTES, 4 * prod(shape))
    descriptor = _made(size, token) if ranks.leads else None
    try:
        told: tuple[int, int, bytes] | None = ranks.first(descriptor and (os.getpid(), descriptor, token))
        if told and not ranks.leads:
            descriptor = _opened(*told)
        found = ranks.meet(descriptor is not None)
        if descriptor is None or not all(found):
            return None
        return torch.frombuffer(mmap.mmap(descriptor, size), dtype=torch.float32, count=prod(shape)).view(*shape)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _made(size: int, token: bytes) -> int | None:
    descriptor = os.memfd_create("vae-gradients")
    try:
        os.posix_fallocate(descriptor, 0, size)  # Otherwise full memory would end a process while it writes.
        os.pwrite(descriptor, token, 0)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _opened(process: int, number: int, token: bytes) -> int | None:
    """Return a descriptor of another process's memory; None if that is not to be seen, as from another container."""
    try:
        descriptor = os.open(f"/proc/{process}/fd/{number}", os.O_RDWR)
    except OSError:
        return None
    if os.pread(descriptor, TOKEN_BYTES, 0) == token:
        return descriptor
    os.close(descriptor)
    return None
