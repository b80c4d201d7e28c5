"""Who may work in a database now: a few at once, and of one collection fewer, so that a stuck one leaves room for others.

Whoever finds no room waits on the event loop, in the order of coming, and holds neither a thread nor a connection. Knows
nothing of databases.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field


class NoSlot(Exception):
    """There was no room for as long as the caller's patience lasted, or the slots are closed."""


@dataclass(slots=True)
class _Line:
    """Those of one collection. `moved`: when the last one got what it wanted."""

    taken: int = 0
    moved: float = 0.0
    is_stuck: bool = False  # the last one waited in vain
    waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)


class Slots:
    """A number of places, at most `most_of_one` of them for one key. For one event loop."""

    def __init__(self, most: int, most_of_one: int, patience: float) -> None:
        """`patience`: how many seconds anybody waits for a place without seeing that the line moves."""
        self._free, self._most_of_one, self._patience = most, most_of_one, patience
        self._lines: dict[str, _Line] = {}
        self._is_closed = False

    async def take(self, key: str) -> float:
        """Wait for a place; when the caller's patience ends, in the time of `time.monotonic`. Give it back with `leave`.

        While one of a stuck key tries whether it is free again, the others are refused at once. Raises NoSlot.
        """
        since = time.monotonic()
        line = self._lines.setdefault(key, _Line())
        if self._is_closed or (line.is_stuck and line.taken):
            raise NoSlot
        if not line.waiting and self._has_room(line):
            self._enter(line)
            return since + self._patience
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            while not turn.done():
                left = max(since, line.moved) + self._patience - time.monotonic()
                if left <= 0:
                    raise NoSlot
                await asyncio.wait([turn], timeout=left)
            turn.result()  # raises NoSlot when the slots were closed
        except BaseException:
            if turn.done() and turn.exception() is None:
                self.leave(key)  # the place came while the caller was leaving
            elif turn in line.waiting:
                line.waiting.remove(turn)
                self._forget(key)
            raise
        return max(since, line.moved) + self._patience

    def leave(self, key: str, succeeded: bool = False, was_stuck: bool = False) -> None:
        """Give a place back. `was_stuck`: all patience went into waiting for somebody else's lock."""
        line = self._lines[key]
        line.taken -= 1
        self._free += 1
        if succeeded:
            line.moved = time.monotonic()
        line.is_stuck = was_stuck or (line.is_stuck and not succeeded)
        self._hand_out()
        self._forget(key)

    def close(self) -> None:
        """Nobody gets a place any more, nor does anybody wait for one."""
        self._is_closed = True
        for line in self._lines.values():
            while line.waiting:
                line.waiting.popleft().set_exception(NoSlot())

    def _has_room(self, line: _Line) -> bool:
        return self._free > 0 and line.taken < (1 if line.is_stuck else self._most_of_one)

    def _enter(self, line: _Line) -> None:
        line.taken += 1
        self._free -= 1

    def _hand_out(self) -> None:
        """Give what is free to those who wait, one key after another."""
        for key in list(self._lines):
            line = self._lines[key]
            if line.waiting and self._has_room(line):
                self._lines[key] = self._lines.pop(key)  # next time it is the turn of the others first
            while line.waiting and self._has_room(line):
                self._enter(line)
                line.waiting.popleft().set_result(None)
            if not self._free:
                return

    def _forget(self, key: str) -> None:
        line = self._lines.get(key)
        if line is not None and not (line.taken or line.waiting or line.is_stuck):
            del self._lines[key]
