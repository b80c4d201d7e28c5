"""Lines of the log, written by a thread of their own so that nobody waits for whoever reads them. Knows nothing of their form.

A pipe that nobody empties, or a disk that stands still, would otherwise stop the event loop in the middle of a request. What
does not fit into the queue is dropped and counted, and the count is logged when there is room again.
"""

import logging
import os
import select
import threading
import time
from collections import deque
from typing import IO

# characters that wait to be written; about five thousand requests
MOST_WAITING = 1 << 20
# characters that are handed to the system at once
MOST_AT_ONCE = 1 << 14
# Between two looks at the queue: under load each wake-up of the thread would take more time than its lines.
PAUSE_SECONDS = 0.01
# how long the end of the process waits for what is not written yet
PATIENCE_SECONDS = 0.5


class LogWriter(logging.Handler):
    """Hands formatted records to the thread, which starts with the first of them."""

    def __init__(self, stream: IO[str] | None, most_waiting: int = MOST_WAITING) -> None:
        """`stream`: a file of the system; None where the process has none, then records go nowhere."""
        super().__init__()
        self._stream, self._most_waiting = stream, most_waiting
        self._lines: deque[str] = deque()
        # each of these only grows, and one thread alone changes it: characters, and lines that did not fit
        self._queued = self._written = self._dropped = self._told = 0
        self._work, self._progress = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record. Logging holds the handler's lock meanwhile."""
        try:
            line = self.format(record) + "\n"
        except Exception:  # a mistake in a log call must not cost a request
            line = f"{record.levelname}: a record of {record.name} could not be formatted: {record.msg!r}\n"
        if self._queued - self._written + len(line) > self._most_waiting:
            self._dropped += 1
            return
        self._queued += len(line)
        self._lines.append(line)
        if not self._work.is_set():
            self._work.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Wait until what is queued is written, but not for long: the process may be at its end."""
        wanted, give_up = self._queued, time.monotonic() + PATIENCE_SECONDS
        while self._written < wanted and (left := give_up - time.monotonic()) > 0:
            self._progress.clear()
            if self._written < wanted:
                self._progress.wait(left)

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            while self._lines:
                lines, size = [], 0
                while self._lines and size < MOST_AT_ONCE:
                    lines.append(self._lines.popleft())
                    size += len(lines[-1])
                self._write("".join(lines) + self._tell_of_dropped())
                self._written += size
                self._progress.set()
            time.sleep(PAUSE_SECONDS)

    def _tell_of_dropped(self) -> str:
        """A line that says how many did not fit, if any did not since the last such line."""
        count = self._dropped - self._told
        if not count:
            return ""
        self._told += count
        notice = f"{count} lines of the log were dropped: standard error is not read fast enough"
        return self.format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, notice, None, None)) + "\n"

    def _write(self, text: str) -> None:
        """Write to the file itself: Python's own buffers could not be closed while the system keeps us waiting."""
        data = memoryview(text.encode(errors="backslashreplace"))
        try:
            while data and self._stream is not None:
                try:
                    data = data[os.write(self._stream.fileno(), data) :]
                except BlockingIOError:  # somebody who shares the file has said that writing may not wait
                    select.select([], [self._stream], [])
        except (OSError, ValueError):
            return  # the reader is gone, the disk is full, or the stream is closed: there is nobody to tell
