"""The lanes of one model for pictures of many sizes: one for each size and direction, made when the size is first needed.

Rows of one size batch together. Only so many lanes are kept; of those that nobody uses, the one that was used least makes
way, so that many sizes that are used once do not drive out those that are used again and again. Knows nothing of requests or
HTTP.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from service.engine.device import Device
from service.engine.errors import Overloaded
from service.engine.lane import NEWEST, Lane
from service.inference.deadline import in_time
from service.inference.kinds.served_kind import Floats
from service.inference.kinds.size_limits import SizeLimits
from service.latents import noise as seeds

# Lanes of sizes beside the model's own that are kept, and sizes that may wait to be prepared.
MOST_LANES, MOST_WAITING = 16, 64
# After so many uses of lanes, all their counts are halved: what was used long ago counts for less.
HALVED_AFTER = 256

LATE = "the deadline passed while the first batch of pictures of this size was prepared"

Key = tuple[str, tuple[int, ...]]
Size = tuple[int, int]


@dataclass
class _Made:
    lane: Lane
    users: int = 0
    uses: int = 0


@dataclass
class _Wanted:
    """A lane that is being made, or waits for it, and how many callers wait for it."""

    size: Size
    callers: int = 0
    task: "asyncio.Task[None] | None" = None


class SizedLanes:
    """Lanes by direction (such as "encode") and the shape of their rows."""

    def __init__(
        self, name: str, functions: Mapping[str, Callable[[Tensor], Tensor]], limits: SizeLimits, device: Device
    ) -> None:
        """Take the function of each direction, from rows (B, C, H, W) to answers. `name`: that of the model, for the log."""
        self._name, self._functions, self._limits, self._device = name, functions, limits, device
        self._made: OrderedDict[Key, _Made] = OrderedDict()  # the one that was used last is the last
        self._wanted: dict[Key, _Wanted] = {}
        self._preparing = asyncio.Semaphore(1)
        self._seconds = 0.0  # the running mean of how long it takes to prepare a size
        self._uses = 0
        self.tell_of: Callable[[str, Lane], None] = lambda *_: None  # called with the name and each lane that is made

    @property
    def lanes(self) -> dict[str, Lane]:
        """The lanes by names such as "encode_3x64x96"."""
        return {_name(key): made.lane for key, made in self._made.items()}

    @asynccontextmanager
    async def lane(
        self, direction: str, shape: tuple[int, ...], size: Size, deadline: float | None = None
    ) -> AsyncIterator[Lane]:
        """Lend the lane for rows of a shape, made and checked first if need be; it stays until the block ends.

        `size`: that of their pictures, (H, W). Raises Overloaded if too many sizes wait to be prepared, DeadlineExceeded,
        DeviceUnusable.
        """
        key = direction, shape
        while (made := self._made.get(key)) is None:
            await self._wait_for(key, size, deadline)
        made.users += 1
        self._count(key, made)
        try:
            yield made.lane
        finally:
            made.users -= 1
            self._forget_some()

    def close(self) -> None:
        """Forget all lanes, when nobody uses the model any more."""
        for wanted in self._wanted.values():
            if wanted.task is not None:
                wanted.task.cancel()
        self._device.forget([made.lane for made in self._made.values()])
        self._made.clear()

    async def _wait_for(self, key: Key, size: Size, deadline: float | None) -> None:
        """Wait until a lane was made, which may be gone again by then."""
        wanted = self._wanted.get(key)
        if wanted is None:
            if len(self._wanted) >= MOST_WAITING:
                seconds = max(1.0, self._seconds * len(self._wanted))
                raise Overloaded(seconds, f"{len(self._wanted)} sizes of pictures are being prepared; that should be done")
            wanted = self._wanted[key] = _Wanted(size)
        wanted.callers += 1
        if wanted.task is None:
            wanted.task = asyncio.create_task(self._make(key, wanted))
            wanted.task.add_done_callback(_retrieved)
        try:
            await in_time(asyncio.shield(wanted.task), deadline, LATE)
        finally:
            wanted.callers -= 1

    async def _make(self, key: Key, wanted: _Wanted) -> None:
        try:
            async with self._preparing:
                if not wanted.callers:  # They have left while others had their turns.
                    return
                started = time.monotonic()
                lane = await self._prepared(key, wanted.size)
                seconds = time.monotonic() - started
                self._seconds += NEWEST * (seconds - self._seconds) if self._seconds else seconds
        finally:
            del self._wanted[key]
        self._made[key] = _Made(lane)
        self.tell_of(_name(key), lane)
        self._forget_some()

    async def _prepared(self, key: Key, size: Size) -> Lane:
        direction, shape = key
        limits = self._limits.of_queue(*size, self._device)
        name = f"{self._name} {_name(key)}"
        examples = await self._device.aside(partial(_examples, direction, limits.max_batch, shape))
        (lane,) = await self._device.lanes(self._functions[direction], examples, name=name, only_torch=True, limits=limits)
        return lane

    def _count(self, key: Key, made: _Made) -> None:
        made.uses += 1
        self._made.move_to_end(key)
        self._uses += 1
        if self._uses >= HALVED_AFTER:
            self._uses = 0
            for one in self._made.values():
                one.uses //= 2

    def _forget_some(self) -> None:
        while len(self._made) > MOST_LANES:
            idle = [key for key in list(self._made)[:-1] if not self._made[key].users]
            if not idle:
                return
            least = min(idle, key=lambda key: self._made[key].uses)  # of several, the one that was not used for longest
            self._device.forget([self._made.pop(least).lane])


def _retrieved(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()  # marks it as retrieved, since those who waited may have left


def _name(key: Key) -> str:
    return f"{key[0]}_{'x'.join(map(str, key[1]))}"


def _examples(direction: str, rows: int, shape: tuple[int, ...]) -> Floats:
    """Return rows to warm up with: noise, uniform for pictures and normal for latents."""
    if direction == "encode":
        return np.random.Generator(np.random.Philox(0)).random((rows, *shape), np.float32)
    return seeds.standard_normal(0, rows, int(np.prod(shape))).reshape(rows, *shape)
