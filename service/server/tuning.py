"""The process itself, made fit to serve: descriptors, garbage collection, threads. Knows nothing of what is served."""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

# Of garbage collections. Python's own (700, 10, 10) is for small heaps: under many connections a sixth of the time went there.
GC_THRESHOLD = 10_000, 20, 20
# how long one thread may keep the interpreter from another, such as the event loop; Python's own is fifty times as long
SWITCH_SECONDS = 0.0001


def open_standard_descriptors() -> None:
    """Let those of the descriptors 0 to 2 lead to /dev/null that whoever started this process has closed.

    Else the next files and sockets would get these numbers, and with them what is meant for standard error. The processes
    that this one starts have them too.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)  # inheritable, also where it is the same number
            os.set_inheritable(number, True)
            if opened != number:
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115


@contextmanager
def uncollected() -> Iterator[None]:
    """Imports without garbage collections, which would take an eighth of the start and find nothing: what they make stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def leave(status: int) -> NoReturn:
    """End the process now: Python would wait for threads that are still at work, such as on a long animation."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, full, or not there
            stream.flush()
    os._exit(status)


def settle() -> None:
    """After start-up: collect garbage rarely and without what start-up made, and let threads give way to the event loop soon.

    Torch leaves so many objects that each full collection would take 100 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)
