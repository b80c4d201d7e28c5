"""Stop a run by Ctrl-C or SIGTERM: at once while nothing is at stake, and after the current step while it trains."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signals(quiet: bool = False) -> Iterator[list[int]]:
    """Yield a list that gets an entry at the first Ctrl-C or SIGTERM, so that the step is completed; the second exits.

    `quiet`: say nothing, because another process of the run does.
    """
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # Not print: the signal may have interrupted one.
        if received and not quiet:
            os.write(2, b"\nstopped at once; --resume continues from the last saved state\n")
        if received:
            sys.exit(128 + number)
        if not quiet:
            os.write(2, b"\nstopping after this step; a second Ctrl-C stops at once\n")
        received.append(number)

    with _handled_by(on_signal):
        yield received


@contextmanager
def interrupted() -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C and SIGTERM."""
    with _handled_by(signal.default_int_handler):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
