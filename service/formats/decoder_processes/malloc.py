"""Makes the memory allocator of the C library give memory back to the system. Does nothing if the library is not glibc."""

import ctypes
import sys

# Blocks of at least this size are mapped from the system and given back to it, so that they leave no holes. glibc starts like
# that, too, but raises its threshold to the size of each freed block: loading modules alone would leave holes of 7 MB.
SYSTEM_BLOCK_BYTES = 1 << 20
# Large nets allocate blocks of megabytes for every operation. Each would be new memory, which takes half of their time, so
# blocks up to this size are kept, and so much free memory in all.
KEPT_BLOCK_BYTES, KEPT_BYTES = 32 << 20, 256 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # constants of malloc.h


def prepare(system_block_bytes: int = SYSTEM_BLOCK_BYTES) -> None:
    """Map blocks of at least this size from the system and give them back to it. Call this before anything is loaded."""
    if (libc := _glibc()) is not None:
        libc.mallopt(M_MMAP_THRESHOLD, system_block_bytes)


def keep_free_memory() -> None:
    """Keep free memory for the next operation of a large net."""
    if (libc := _glibc()) is not None:
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def trim() -> None:
    """Give unused memory back to the system."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library, or None if it is not glibc."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "malloc_trim") else None
