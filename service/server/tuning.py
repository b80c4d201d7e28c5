"""Prepares the process for serving: descriptors, warnings, garbage collection, threads. Knows nothing of what is served."""

import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from PIL import Image

# Thresholds of garbage collection. With Python's (700, 10, 10) and many connections, collections took a sixth of the time.
GC_THRESHOLD = 10_000, 20, 20
# How long a thread may keep the interpreter lock while another one, such as the event loop, waits. Python's default is 5 ms.
SWITCH_SECONDS = 0.0001


def open_standard_descriptors() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed.

    Otherwise the next files and sockets would get these numbers, and with them the text for standard error. Child processes
    inherit the descriptors.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)  # does nothing if the numbers are equal, hence the next line
            os.set_inheritable(number, True)
            if opened != number:
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection during imports: it takes an eighth of the start and finds nothing, since modules stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def log_warnings() -> None:
    """Send warnings to the log, whose writer never blocks the event loop.

    Those of Pillow about odd metadata and large pictures are ignored: we check the size ourselves before decoding.
    """
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.MAX_IMAGE_PIXELS = None


def leave(status: int) -> NoReturn:
    """End the process at once, without waiting for threads that are still working, for example on a long animation."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # the stream is closed, its disk is full, or it is None
            stream.flush()
    os._exit(status)


def settle() -> None:
    """Tune the process after start-up: collect garbage rarely, skip objects made so far, and switch threads often.

    Torch makes so many objects that each full collection would take 100 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)
