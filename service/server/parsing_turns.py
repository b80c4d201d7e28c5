"""Whose bytes are parsed next: connections that have sent much at once take turns, so that none of them keeps the event loop
from the others. Knows nothing of HTTP but how a head ends.
"""

import asyncio
import re
from typing import Protocol

END_OF_HEAD = b"\r\n\r\n"
LINE_END = b"\r\n"
EMPTY_LINES = re.compile(rb"[\r\n]*")
# bytes that are parsed in one go
PIECE = 1 << 13
# in a body, lines shorter than this on average are chunks of a few bytes, each of which costs as much as a large one
SHORT_LINE = 1 << 7
# how long the connections of one round of the event loop may take
TURN_SECONDS = 0.002


class Feeder(Protocol):
    """A connection that keeps bytes which are not parsed yet."""

    def parse_until(self, until: float) -> bool:
        """Parse until that time of the event loop; whether there is more that may be parsed now."""


class ParsingTurns:
    """A queue of connections. Each parses one piece or more and goes to its end while it has something to parse."""

    def __init__(self) -> None:
        self._queue: dict[Feeder, None] = {}  # in the order in which they came
        self._is_due = False

    def add(self, feeder: Feeder, loop: asyncio.AbstractEventLoop) -> None:
        """Give it a turn soon. A connection that is in the queue already is not added again."""
        self._queue.setdefault(feeder)
        self._run_soon(loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_due = False
        until = loop.time() + TURN_SECONDS
        for feeder in tuple(self._queue):
            del self._queue[feeder]
            if feeder.parse_until(until):
                self._queue[feeder] = None
            if loop.time() > until:
                break
        if self._queue:
            self._run_soon(loop)

    def _run_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._run, loop)


def is_harmless(data: bytes) -> bool:
    """Whether parsing all of it at once makes at most two requests, and few calls for each kilobyte."""
    return data.count(END_OF_HEAD) < 2 and (len(data) <= PIECE or data.count(LINE_END) <= len(data) // SHORT_LINE)


def end_of_piece(data: bytes, start: int, of_body: int) -> int:
    """Where the piece of `data` ends that begins at `start`: with a body, with a head, or after PIECE bytes.

    `of_body`: how many bytes are known to be of a body, in which no head ends.
    """
    if of_body:
        return min(len(data), start + of_body)
    end = data.find(END_OF_HEAD, start, start + PIECE)
    return min(len(data), start + PIECE) if end < 0 else end + len(END_OF_HEAD)


def after_empty_lines(data: bytes, start: int) -> int:
    """Where the next request begins: empty lines before it mean nothing."""
    found = EMPTY_LINES.match(data, start)
    return found.end() if found is not None else start
