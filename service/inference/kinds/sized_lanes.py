"""The lanes of one model for pictures of many sizes: one for each size and direction, made when the size is first needed.

Rows of one size batch together. Only so many lanes are kept; the one that was not used for longest makes way. Knows nothing of
requests or HTTP.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from service.engine.device import Device, QueueLimits
from service.engine.errors import Overloaded
from service.engine.lane import Lane
from service.inference.deadline import in_time
from service.inference.kinds.served_kind import Floats
from service.latents import noise as seeds

# Lanes of sizes beside the model's own that are kept, and sizes that may wait to be prepared.
MOST_LANES, MOST_WAITING = 16, 16
# A batch has at most so many pixels, but always one picture. On the CPU larger ones are no faster, and with more rows torch
# computes in another way, whose bits small batches do not have: a lone picture would take as long as a full batch.
BATCH_PIXELS, CPU_BATCH_PIXELS, CPU_BATCH = 512 * 512, 128 * 128, 8
# All pictures of a request have at most so many, and all that wait for a model. Each takes about 40 bytes.
REQUEST_PIXELS, WAITING_PIXELS = 4 * 2048 * 2048, 8 * 2048 * 2048

LATE = "the deadline passed while the first batch of pictures of this size was prepared"

Key = tuple[str, tuple[int, ...]]


def limits_of(pixels: int, device: Device) -> QueueLimits:
    """Return the limits of a lane for pictures with so many pixels each, which are at most those of the device."""
    on_cpu, own = device.torch_device.type == "cpu", device.limits
    most = CPU_BATCH_PIXELS if on_cpu else BATCH_PIXELS
    batch, request, queue = (max(1, each // pixels) for each in (most, REQUEST_PIXELS, WAITING_PIXELS))
    batch = min(batch, own.max_batch, CPU_BATCH if on_cpu else own.max_batch)
    return QueueLimits(batch, min(queue, own.max_queue_rows), min(request, own.max_rows))


@dataclass
class _Made:
    lane: Lane
    users: int = 0


class SizedLanes:
    """Lanes by direction (such as "encode") and the shape of their rows."""

    def __init__(self, name: str, functions: Mapping[str, Callable[[Tensor], Tensor]], device: Device) -> None:
        """Take the function of each direction, from rows (B, C, H, W) to answers. `name`: that of the model, for the log."""
        self._name, self._functions, self._device = name, functions, device
        self._made: OrderedDict[Key, _Made] = OrderedDict()
        self._making: dict[Key, asyncio.Task[Lane]] = {}
        self._preparing = asyncio.Semaphore(1)
        self.tell_of: Callable[[str, Lane], None] = lambda *_: None  # called with the name and each lane that is made

    @property
    def lanes(self) -> dict[str, Lane]:
        """The lanes by names such as "encode_3x64x96"."""
        return {_name(key): made.lane for key, made in self._made.items()}

    @asynccontextmanager
    async def lane(
        self, direction: str, shape: tuple[int, ...], pixels: int, deadline: float | None = None
    ) -> AsyncIterator[Lane]:
        """Lend the lane for rows of a shape, made and checked first if need be; it stays until the block ends.

        `pixels`: those of a picture of this size. Raises Overloaded if too many sizes wait to be prepared, DeadlineExceeded,
        DeviceUnusable.
        """
        key = direction, shape
        while (made := self._made.get(key)) is None:
            task = self._making.get(key)
            if task is None:
                if len(self._making) >= MOST_WAITING:
                    raise Overloaded(1.0, f"{len(self._making)} sizes of pictures are being prepared; that should be done")
                task = self._making[key] = asyncio.create_task(self._make(key, pixels))
                task.add_done_callback(partial(self._done, key))
            await in_time(asyncio.shield(task), deadline, LATE)
        made.users += 1
        self._made.move_to_end(key)
        try:
            yield made.lane
        finally:
            made.users -= 1
            self._forget_some()

    def close(self) -> None:
        """Forget all lanes, when nobody uses the model any more."""
        for task in self._making.values():
            task.cancel()
        self._device.forget([made.lane for made in self._made.values()])
        self._made.clear()

    async def _make(self, key: Key, pixels: int) -> Lane:
        direction, shape = key
        async with self._preparing:
            limits = limits_of(pixels, self._device)
            name = f"{self._name} {_name(key)}"
            examples = await self._device.aside(partial(_examples, direction, limits.max_batch, shape))
            function = self._functions[direction]
            (lane,) = await self._device.lanes(function, examples, name=name, only_torch=True, limits=limits)
        self._made[key] = _Made(lane)
        self.tell_of(_name(key), lane)
        self._forget_some()
        return lane

    def _done(self, key: Key, task: "asyncio.Task[Lane]") -> None:
        del self._making[key]
        if not task.cancelled():
            task.exception()  # marks it as retrieved, since those who waited may have left

    def _forget_some(self) -> None:
        for key in list(self._made)[:-1]:
            if len(self._made) <= MOST_LANES:
                return
            if not self._made[key].users:
                self._device.forget([self._made.pop(key).lane])


def _name(key: Key) -> str:
    return f"{key[0]}_{'x'.join(map(str, key[1]))}"


def _examples(direction: str, rows: int, shape: tuple[int, ...]) -> Floats:
    """Return rows to warm up with: noise, uniform for pictures and normal for latents."""
    if direction == "encode":
        return np.random.Generator(np.random.Philox(0)).random((rows, *shape), np.float32)
    return seeds.standard_normal(0, rows, int(np.prod(shape))).reshape(rows, *shape)
