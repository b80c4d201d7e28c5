"""A logging handler whose own thread writes the lines, so that a slow reader of the log slows nothing else down.

Otherwise a full pipe or a stalled disk would block the event loop in the middle of a request. Lines that do not fit into the
queue are dropped and counted, and the count is logged when there is room again. Knows nothing of the format of a line.
"""

import logging
import os
import select
import threading
import time
from typing import IO

# Longest queue, in characters: about twenty thousand requests.
MOST_WAITING = 1 << 22
# Characters that are written with one system call.
MOST_AT_ONCE = 1 << 16
# Pause between two looks at the queue: under load, waking the thread for each line would take longer than writing it, and each
# time it takes a core away from a batch.
PAUSE_SECONDS = 0.1
# How long `flush`, at the end of the process, waits for lines that are not written yet.
PATIENCE_SECONDS = 0.5


class LogWriter(logging.Handler):
    """A handler that queues formatted records for its thread, which starts with the first record."""

    def __init__(self, stream: IO[str] | None, most_waiting: int = MOST_WAITING) -> None:
        """`stream`: a file with a descriptor. If it is None, records are discarded."""
        super().__init__()
        self._stream, self._most_waiting = stream, most_waiting
        self._lines: list[str] = []
        # Each number only grows, and only one thread changes it: characters queued and written, lines dropped and reported.
        self._queued = self._written = self._dropped = self._told = 0
        # Reentrant, because garbage may be collected in `put`, and its finalizers may log.
        self._one_at_a_time = threading.RLock()
        self._is_awake = False  # whether the thread will look at the queue again
        self._work, self._progress = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record."""
        try:
            line = self.format(record) + "\n"
        except Exception:  # a mistake in a log call must not cost a request
            line = f"{record.levelname}: a record of {record.name} could not be formatted: {record.msg!r}\n"
        self.put(line)

    def put(self, line: str) -> None:
        """Queue a formatted line. Any thread may call it."""
        with self._one_at_a_time:
            if self._queued - self._written + len(line) > self._most_waiting:
                self._dropped += 1
                return
            self._queued += len(line)
            self._lines.append(line)
            if not self._is_awake:
                self._is_awake = True
                self._work.set()
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                    self._thread.start()

    def flush(self) -> None:
        """Wait until the queue is written, for PATIENCE_SECONDS at most: the process may be about to end."""
        wanted, give_up = self._queued, time.monotonic() + PATIENCE_SECONDS
        while self._written < wanted and (left := give_up - time.monotonic()) > 0:
            self._progress.clear()
            if self._written < wanted:
                self._progress.wait(left)

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            self._is_awake = False  # Lines that are queued from now on wake the thread again.
            while self._lines:
                with self._one_at_a_time:
                    lines, self._lines = self._lines, []
                text = "".join(lines)
                del lines
                for start in range(0, len(text), MOST_AT_ONCE):
                    self._write(text[start : start + MOST_AT_ONCE])
                    self._written += min(MOST_AT_ONCE, len(text) - start)
                    self._progress.set()
                self._write(self._tell_of_dropped())
            time.sleep(PAUSE_SECONDS)

    def _tell_of_dropped(self) -> str:
        """Return a line with the number of lines dropped since the last such line, or an empty string."""
        count = self._dropped - self._told
        if not count:
            return ""
        self._told += count
        notice = f"{count} log lines were dropped because standard error is not read fast enough"
        return self.format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, notice, None, None)) + "\n"

    def _write(self, text: str) -> None:
        """Write to the descriptor. Python's buffered file could not be closed while a write blocks."""
        data = memoryview(text.encode(errors="backslashreplace"))
        try:
            while data and self._stream is not None:
                try:
                    data = data[os.write(self._stream.fileno(), data) :]
                except BlockingIOError:  # another process that shares the file made it non-blocking
                    select.select([], [self._stream], [])
        except (OSError, ValueError):
            return  # reader gone, disk full or stream closed: nothing can be reported
