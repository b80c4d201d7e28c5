"""Pictures -> the model's pixels in processes of their own, within bounds on memory and time whatever the pictures are.

Nobody waits longer for a decoder than his own deadline, since a process can be ended and a thread cannot. Small pictures have
a decoder more than large ones, so that they need not wait for those. Knows nothing of HTTP or of batches.
"""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import numpy as np

from models.preprocess import Pixels, Preprocessing
from service.formats import errors
from service.formats.decoding.bounds import Budget, Room
from service.formats.decoding.decoder import FAILED, NEED, NUMBER, SPENT
from service.formats.decoding.pool import DecoderPool
from service.formats.decoding.process import Died
from service.formats.errors import BadInput, TooCostly, Undecodable

# A file of no more bytes is tried as a small picture first: one whose decoding takes no more memory and time than this.
SMALL_FILE, SMALL_BYTES, SMALL_SECONDS = 1 << 20, 8 << 20, 1.0
# how long a decoder may still work for a caller who is gone, before it is ended, which costs a new one's start
GRACE_SECONDS = 0.2
# a process that has had so much is replaced, so that all of it is given back for certain
WORN_BYTES = 64 << 20
# how much memory opening a file takes, in files: WebP's decoder copies it twice
OPENING, OPENING_WEBP = 2, 4

Decoded = tuple[Pixels, int]


class Decoders:
    """So many processes, and one more for small pictures; `ended` counts those that were lost, by reason."""

    def __init__(self, processes: int, max_pixels: int, max_bytes: int, seconds: float) -> None:
        """`max_bytes`: memory for decoding, of all pictures together; `seconds`: how long processes may work on one picture,
        however often it is tried, while waiting for one of them or for memory is not counted."""
        self.max_pixels, self.max_bytes, self.seconds = max_pixels, max_bytes, seconds
        self._small_bytes = min(SMALL_BYTES, max_bytes // (2 * processes + 2))
        self._room = Room(max_bytes - (processes + 1) * self._small_bytes)
        self._any, self._for_large = asyncio.Semaphore(processes + 1), asyncio.Semaphore(processes)
        self._pool = DecoderPool(processes + 1)
        self.ended = self._pool.ended
        self._working: set[asyncio.Task[Any]] = set()  # for callers, who may leave

    async def start(self) -> None:
        """Have all processes there before they are needed, from now on; if that fails, pictures that need one try again."""
        await self._pool.start()

    async def close(self) -> None:
        """End all processes."""
        self._pool.kill()
        for task in self._working:
            task.cancel()
        await self._pool.close()
        while self._working:
            await asyncio.gather(*self._working, return_exceptions=True)
        await self._pool.close()  # of those that these had

    async def decode(self, data: bytes, spec: Preprocessing, spent: int = 0, item: int | None = None) -> Decoded:
        """uint8 (C, H, W) of a picture file, and its own pixels; `spent`: those of the request's others.

        Raises BadInput, DecoderUnavailable.
        """
        shape = [spec.channels, spec.height, spec.width, spec.fit, spec.filter]
        what = json.dumps({"spec": shape, "max_pixels": self.max_pixels, "spent": spent}).encode()
        try:
            content, pixels = await self._watched(self._decoded(data, what))
            return content.reshape(spec.shape), pixels
        except BadInput as error:
            error.item = item
            raise

    async def _watched(self, work: Coroutine[Any, Any, Decoded]) -> Decoded:
        """Work that a caller may leave at any time; what a decoder has begun is then given a moment to end well."""
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, task.cancel)
            raise
        finally:
            del task  # its error refers to this frame: as a circle they would keep the file until garbage is collected

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # the caller's, who may have left

    async def _decoded(self, data: bytes, what: bytes) -> Decoded:
        budget = Budget(self.seconds)
        try:
            try:
                return await self._tried(data, what, budget)
            except Died:  # it may have been killed, which says nothing of the picture
                pass
            return await self._tried(data, what, budget, fresh=True)
        except Died:
            raise Undecodable("the decoder crashed twice on this picture; it is probably corrupt") from None
        except TimeoutError:
            raise TooCostly(
                f"decoding the picture took longer than {self.seconds:g} seconds (VAE_DECODE_SECONDS): send it smaller"
            ) from None
        except MemoryError:
            raise TooCostly(
                "decoding the picture needs more memory than its header declares; the file is probably corrupt"
            ) from None

    async def _tried(self, data: bytes, what: bytes, budget: Budget, fresh: bool = False) -> Decoded:
        if len(data) <= min(SMALL_FILE, self._small_bytes // OPENING_WEBP):
            decoded = await self._small(data, what, budget, fresh)
            if decoded is not None:
                return decoded
        return await self._large(data, what, budget, fresh)

    async def _small(self, data: bytes, what: bytes, budget: Budget, fresh: bool) -> Decoded | None:
        """None when it is not a small picture after all."""
        try:
            async with self._any, self._pool.child(len(data), fresh) as child:
                with budget.work(SMALL_SECONDS) as seconds:
                    kind, content = await child.ask(data, what, OPENING_WEBP * len(data), self._small_bytes, seconds)
                if kind != NEED:
                    return _result(kind, content)
                await child.forget()
        except TimeoutError:
            if budget.left <= 0:
                raise
        return None

    async def _large(self, data: bytes, what: bytes, budget: Budget, fresh: bool) -> Decoded:
        opening = len(data) * (OPENING_WEBP if data.startswith(b"RIFF") else OPENING)
        self._check(opening)
        async with self._for_large, self._any:
            with self._room.share() as share:
                async with self._pool.child(len(data), fresh) as child:
                    await share.wait_for(opening)
                    with budget.work() as seconds:
                        kind, content = await child.ask(data, what, opening, 0, seconds)
                    if kind == NEED and not share.grow(cost := _cost(content)):
                        await child.forget()
                        self._check(cost)
                        await share.wait_for(max(cost, opening))
                        with budget.work() as seconds:
                            kind, content = await child.ask(data, what, opening, 0, seconds)
                    child.is_worn = share.size > WORN_BYTES
                    if kind == NEED:
                        with budget.work() as seconds:
                            kind, content = await child.go_on(_cost(content), seconds)
                    return _result(kind, content)

    def _check(self, cost: int) -> None:
        if cost > self._room.total:
            raise TooCostly(
                f"decoding the picture needs {cost} bytes of memory; at most {self._room.total} are available to one picture "
                f"(from VAE_MAX_DECODED_BYTES={self.max_bytes}). Send it smaller or in another format"
            )


def _cost(content: bytes) -> int:
    return int(NUMBER.unpack(content)[0])


def _result(kind: bytes, content: bytes) -> Decoded:
    """Raises BadInput, MemoryError."""
    if kind == SPENT:
        raise MemoryError
    if kind == FAILED:
        name, reason = json.loads(content)
        error: type[BadInput] = getattr(errors, name)
        raise error(reason)
    return np.frombuffer(content, np.uint8, offset=NUMBER.size).copy(), NUMBER.unpack_from(content)[0]
