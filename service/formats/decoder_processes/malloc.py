"""Makes the memory allocator of the C library give memory back to the system. Does nothing if the library is not glibc."""

import ctypes
import sys

# Blocks of at least this size are mapped from the system and given back to it, so that they leave no holes. glibc starts like
# that, too, but raises its threshold to the size of each freed block: loading modules alone would leave holes of 7 MB.
SYSTEM_BLOCK_BYTES = 1 << 20
M_MMAP_THRESHOLD = -3  # a constant of malloc.h


def prepare(system_block_bytes: int = SYSTEM_BLOCK_BYTES) -> None:
    """Map blocks of at least this size from the system and give them back to it. Call this before anything is loaded."""
    if (libc := _glibc()) is not None:
        libc.mallopt(M_MMAP_THRESHOLD, system_block_bytes)


def trim() -> None:
    """Give unused memory back to the system."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library, or None if it is not glibc."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "malloc_trim") else None
