"""Lets connections that have sent many requests at once take turns in parsing, so that none of them blocks the event loop.

Knows nothing of HTTP but how the head of a request ends.
"""

import asyncio
import re
from typing import Protocol

END_OF_HEAD = b"\r\n\r\n"
LINE_END = b"\r\n"
EMPTY_LINES = re.compile(rb"[\r\n]*")
# Bytes that are parsed at a time.
PIECE = 1 << 13
# If lines are shorter than this on average, a body has tiny chunks, each of which costs as much time as a large one.
SHORT_LINE = 1 << 7
# Time for parsing in one iteration of the event loop, all connections together.
TURN_SECONDS = 0.002


class Feeder(Protocol):
    """A connection that holds bytes which are not parsed yet."""

    def parse_until(self, until: float) -> bool:
        """Parse until that time of the event loop. Return whether there is more that can be parsed now."""


class ParsingTurns:
    """A queue of connections. Each parses at least one piece, and goes to the end of the queue if it has more to parse."""

    def __init__(self) -> None:
        self._queue: dict[Feeder, None] = {}  # used as an ordered set
        self._is_due = False

    def add(self, feeder: Feeder, loop: asyncio.AbstractEventLoop) -> None:
        """Give the connection a turn soon. One that is already in the queue is not added again."""
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
    """Return whether the bytes can be parsed at once: they hold at most two requests, and need few calls per kilobyte."""
    return data.count(END_OF_HEAD) < 2 and (len(data) <= PIECE or data.count(LINE_END) <= len(data) // SHORT_LINE)


def end_of_piece(data: bytes, start: int, of_body: int) -> int:
    """Return where the piece that begins at `start` ends: with the known part of a body, with a head, or after PIECE bytes.

    `of_body`: how many of the next bytes are known to belong to a body, in which no head can end.
    """
    if of_body:
        return min(len(data), start + of_body)
    end = data.find(END_OF_HEAD, start, start + PIECE)
    return min(len(data), start + PIECE) if end < 0 else end + len(END_OF_HEAD)


def after_empty_lines(data: bytes, start: int) -> int:
    """Return where the next request begins, after empty lines, which HTTP ignores there."""
    found = EMPTY_LINES.match(data, start)
    return found.end() if found is not None else start
