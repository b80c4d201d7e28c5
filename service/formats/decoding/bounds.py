"""How much memory and time decoding pictures may take. Knows nothing of pictures or processes."""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """Bytes that decoders may take, all together. Who waits for it holds none of it, so that nobody waits in vain."""

    def __init__(self, total: int) -> None:
        self.total = self.left = total
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """A picture's part of it, none so far."""
        share = Share(self)
        try:
            yield share
        finally:
            share.give_back()

    async def take(self, size: int) -> None:
        async with self._turn:
            while size > self.left:
                self._freed.clear()
                await self._freed.wait()
            self.left -= size

    def take_now(self, size: int) -> bool:
        """Whether there was so much, and nobody waiting for it."""
        if self._turn.locked() or size > self.left:
            return False
        self.left -= size
        return True

    def give_back(self, size: int) -> None:
        self.left += size
        self._freed.set()


class Share:
    """What a picture has taken of the room."""

    def __init__(self, room: Room) -> None:
        self._room, self.size = room, 0

    async def wait_for(self, size: int) -> None:
        """Give back what it has, then take so much as soon as it is there."""
        self.give_back()
        await self._room.take(size)
        self.size = size

    def grow(self, size: int) -> bool:
        """Whether it has so much now."""
        if size > self.size:
            if not self._room.take_now(size - self.size):
                return False
            self.size = size
        return True

    def give_back(self) -> None:
        self._room.give_back(self.size)
        self.size = 0


class Budget:
    """Seconds that decoders may still work on a picture, however often it is tried; waiting is not counted."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    @contextmanager
    def work(self, most: float = math.inf) -> Iterator[float]:
        """For how long, at most so long."""
        start = time.monotonic()
        try:
            yield max(0.001, min(self.left, most))
        finally:
            self.left -= time.monotonic() - start
