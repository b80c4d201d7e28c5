"""Limits concurrent work in a database: in all, and for each collection, so that a locked one leaves room for others.

Callers wait on the event loop in the order of their arrival, and meanwhile hold neither a thread nor a connection. Knows
nothing of databases.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field


class NoSlot(Exception):
    """No slot became free within the patience of the caller, or the slots are closed."""


@dataclass(slots=True)
class _Line:
    """Holders and waiters of one key. `moved` is when work last succeeded."""

    taken: int = 0
    moved: float = 0.0
    is_stuck: bool = False  # the last holder waited for a lock in vain
    waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)


class Slots:
    """`most` slots, at most `most_of_one` of them for one key. For one event loop."""

    def __init__(self, most: int, most_of_one: int, patience: float) -> None:
        """`patience`: seconds that a caller waits for a slot while no work with its key succeeds."""
        self._free, self._most_of_one, self._patience = most, most_of_one, patience
        self._lines: dict[str, _Line] = {}
        self._is_closed = False

    async def take(self, key: str) -> float:
        """Wait for a slot. Return when the caller's patience ends, a time of `time.monotonic`. Raises NoSlot.

        Give the slot back with `leave`. While one caller tries whether a stuck key is free again, the others are refused at
        once.
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
                self.leave(key)  # the slot came while the caller was leaving
            elif turn in line.waiting:
                line.waiting.remove(turn)
                self._forget(key)
            raise
        return max(since, line.moved) + self._patience

    def leave(self, key: str, succeeded: bool = False, was_stuck: bool = False) -> None:
        """Give a slot back. `was_stuck`: all patience was spent waiting for a lock of another session."""
        line = self._lines[key]
        line.taken -= 1
        self._free += 1
        if succeeded:
            line.moved = time.monotonic()
        line.is_stuck = was_stuck or (line.is_stuck and not succeeded)
        self._hand_out()
        self._forget(key)

    def close(self) -> None:
        """Refuse all who wait now or call `take` later."""
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
        """Give free slots to those who wait, one key after another."""
        for key in list(self._lines):
            line = self._lines[key]
            if line.waiting and self._has_room(line):
                self._lines[key] = self._lines.pop(key)  # the other keys come first next time
            while line.waiting and self._has_room(line):
                self._enter(line)
                line.waiting.popleft().set_result(None)
            if not self._free:
                return

    def _forget(self, key: str) -> None:
        line = self._lines.get(key)
        if line is not None and not (line.taken or line.waiting or line.is_stuck):
            del self._lines[key]
