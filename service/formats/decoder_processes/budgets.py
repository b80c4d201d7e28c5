"""Limits on the memory and time that decoding may take. Knows nothing of pictures or processes."""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Memory for all decoders together. A waiting picture holds none of it, so that there can be no deadlock."""

    def __init__(self, total: int) -> None:
        self.total = self.left = total
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()

    async def take(self, size: int) -> None:
        async with self._turn:
            while size > self.left:
                self._freed.clear()
                await self._freed.wait()
            self.left -= size

    def take_now(self, size: int) -> bool:
        """Take so many bytes. Return False if there are not so many, or if others wait."""
        if self._turn.locked() or size > self.left:
            return False
        self.left -= size
        return True

    def give_back(self, size: int) -> None:
        self.left += size
        self._freed.set()


class MemoryShare:
    """The memory that one picture has taken from the budget, none at first. Leaving the block gives it back."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget, self.size = budget, 0

    def __enter__(self) -> "MemoryShare":
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    async def wait_for(self, size: int) -> None:
        """Give back everything, then wait until so many bytes are free and take them."""
        self.give_back()
        await self._budget.take(size)
        self.size = size

    def grow(self, size: int) -> bool:
        """Grow to so many bytes without waiting. Return whether that was possible."""
        if size > self.size:
            if not self._budget.take_now(size - self.size):
                return False
            self.size = size
        return True

    def give_back(self) -> None:
        self._budget.give_back(self.size)
        self.size = 0


class TimeBudget:
    """Seconds that decoders may still work on one picture, over all attempts; waiting is not counted."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    @contextmanager
    def work(self, most: float = math.inf) -> Iterator[float]:
        """Yield the seconds that are left, at most `most`, and subtract the time that the block takes."""
        start = time.monotonic()
        try:
            yield max(0.001, min(self.left, most))
        finally:
            self.left -= time.monotonic() - start
