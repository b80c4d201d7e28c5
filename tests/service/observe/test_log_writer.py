"""The log's own thread: all lines in order, and nobody waits when nobody reads."""

import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from service.observe.log_writer import LogWriter

PATIENCE_SECONDS = 60.0
FAR_MORE_THAN_A_PIPE_HOLDS = 4 << 20


def record(message: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("x", level, __file__, 1, message, None, None)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # the test has closed it


def test_lines_are_written_in_order(pipe: tuple[int, int]) -> None:
    with os.fdopen(pipe[1], "w") as stream:
        writer = LogWriter(stream)
        for i in range(1000):
            writer.handle(record(f"line {i} é \udce9"))
        writer.flush()
    with os.fdopen(pipe[0], encoding="utf-8") as found:
        assert found.read().splitlines() == [f"line {i} é \\udce9" for i in range(1000)]


def test_nobody_waits_for_a_reader_who_does_not_read_and_what_is_lost_is_counted(pipe: tuple[int, int]) -> None:
    with os.fdopen(pipe[1], "w") as stream:
        writer, line = LogWriter(stream, most_waiting=10_000), "x" * 99
        count = FAR_MORE_THAN_A_PIPE_HOLDS // 100
        for _ in range(count):
            writer.handle(record(line))  # this would not come back
        writer.flush()  # nor this
        found: list[str] = []
        with os.fdopen(pipe[0], closefd=False) as file:
            reader = threading.Thread(target=lambda: found.extend(file))
            reader.start()

            def accounted() -> int:
                return sum(int(one.split()[0]) if "were dropped" in one else 1 for one in found)

            give_up = time.monotonic() + PATIENCE_SECONDS
            while accounted() < count and time.monotonic() < give_up:  # when there is room again
                writer.handle(record(line))
                writer.flush()
                count += 1
                time.sleep(0.01)
            stream.close()
            reader.join(PATIENCE_SECONDS)
    assert accounted() == count
    assert 0 < found.count(f"{line}\n") < count


@pytest.mark.parametrize("which", ["reader gone", "closed", "none"])
def test_a_log_that_leads_nowhere_costs_nothing(pipe: tuple[int, int], which: str) -> None:
    with os.fdopen(pipe[1], "w") as stream:
        writer = LogWriter(None if which == "none" else stream)
        if which == "reader gone":
            os.close(pipe[0])
        elif which == "closed":
            stream.close()
        for _ in range(100):
            writer.handle(record("x"))
        writer.flush()


def test_a_bad_log_call_is_a_line(pipe: tuple[int, int]) -> None:
    with os.fdopen(pipe[1], "w") as stream:
        writer = LogWriter(stream)
        writer.handle(logging.LogRecord("x", logging.INFO, __file__, 1, "%d", ("no number",), None))
        writer.flush()
    with os.fdopen(pipe[0]) as found:
        assert "could not be formatted" in found.read()


def test_a_finalizer_may_log_while_a_line_is_queued(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    with os.fdopen(pipe[1], "w") as stream:
        writer = LogWriter(stream)
        waken = writer._work.set

        def collect() -> None:
            monkeypatch.setattr(writer._work, "set", waken)
            writer.handle(record("of a finalizer"))
            waken()

        monkeypatch.setattr(writer._work, "set", collect)
        writer.put("of a request\n")
        writer.flush()
    with os.fdopen(pipe[0]) as found:
        assert found.read().splitlines() == ["of a request", "of a finalizer"]
