"""The C library's allocator, made to give memory back to the system. Does nothing where the library is not glibc."""

import ctypes
import sys

# Blocks of memory from this size on come from the system and go back to it, so that none of them leaves a hole. The C library
# begins like that too, but gives it up for the size of each block that is freed: loading alone would leave 7 MB of holes.
SYSTEM_BLOCK_BYTES = 1 << 20
M_MMAP_THRESHOLD = -3  # of malloc.h


def prepare() -> None:
    """Have large blocks come from the system and go back to it. Call it before anything is loaded."""
    if (libc := _glibc()) is not None:
        libc.mallopt(M_MMAP_THRESHOLD, SYSTEM_BLOCK_BYTES)


def trim() -> None:
    """Give memory back to the system that is not in use."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "malloc_trim") else None
