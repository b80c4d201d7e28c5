"""Decodes pictures in separate processes, with limits on memory and time that hold for any file.

A process can be killed, unlike a thread, so that no caller waits beyond its deadline. One decoder is reserved for small
pictures, so that they do not wait for large ones. Knows nothing of HTTP or of batches.
"""

import asyncio
import json
import math
from collections.abc import Coroutine
from typing import Any

import numpy as np

from models.depth import Note
from models.preprocess import Pixels, Preprocessing
from service.formats import errors
from service.formats.decoder_processes.budgets import MemoryBudget, MemoryShare, TimeBudget
from service.formats.decoder_processes.child import FAILED, NEED, NUMBER, SIZE, SPENT
from service.formats.decoder_processes.pool import DecoderPool
from service.formats.decoder_processes.process import Died
from service.formats.errors import BadInput, TooCostly, Undecodable

# A file up to this size is first tried as a small picture, whose decoding takes at most this much memory and time.
SMALL_FILE, SMALL_BYTES, SMALL_SECONDS = 1 << 20, 8 << 20, 1.0
# How long a decoder may go on working after its caller has left. Killing it at once would cost the start of another one.
GRACE_SECONDS = 0.2
# A process that was granted more than this is replaced, so that all of its memory goes back to the system.
WORN_BYTES = 64 << 20
# Memory for opening a file, as a multiple of its size: the decoder of WebP copies the file twice.
OPENING, OPENING_WEBP = 2, 4

Decoded = tuple[Pixels, int]


class Decoders:
    """A number of decoder processes, and one more for small pictures. `ended` counts lost processes by reason."""

    def __init__(self, max_pixels: int, max_bytes: int = 256 << 20, seconds: float = 10.0, processes: int = 2) -> None:
        """Start no process yet.

        `max_bytes`: memory for decoding all pictures together. `seconds`: how long decoders may work on one picture, all
        attempts together; waiting for a decoder or for memory is not counted. `processes`: large pictures that are decoded
        at a time.
        """
        self.max_pixels, self.max_bytes, self.seconds = max_pixels, max_bytes, seconds
        self._small_bytes = min(SMALL_BYTES, max_bytes // (2 * processes + 2))
        self._memory = MemoryBudget(max_bytes - (processes + 1) * self._small_bytes)
        self._any, self._for_large = asyncio.Semaphore(processes + 1), asyncio.Semaphore(processes)
        self._pool = DecoderPool(processes + 1)
        self.ended = self._pool.ended
        self._working: set[asyncio.Task[Any]] = set()  # tasks that go on for a moment if their caller leaves

    async def start(self) -> None:
        """Start all processes ahead of the first picture. If that fails, each picture that needs one tries again."""
        await self._pool.start()

    async def close(self) -> None:
        """End all processes."""
        self._pool.kill()
        for task in self._working:
            task.cancel()
        await self._pool.close()
        while self._working:
            await asyncio.gather(*self._working, return_exceptions=True)
        await self._pool.close()  # ends the processes that these tasks used

    async def decode(
        self,
        data: bytes,
        spec: Preprocessing,
        spent: int = 0,
        item: int | None = None,
        notes: list[Note] | None = None,
    ) -> Decoded:
        """Decode a picture file to uint8 (C, H, W), of its own size with the fit "any_size". Return it and the file's pixels.

        `spent`: number of pixels of the pictures of the same request that were decoded before. `notes` receives what cannot
        be right; see `preprocess`. Raise BadInput or DecoderUnavailable.
        """
        what = json.dumps({"spec": spec.stored(), "max_pixels": self.max_pixels, "spent": spent}).encode()
        try:
            content, pixels = await self._watched(self._decoded(data, what))
            shape = spec.shape
            if spec.fit == "any_size":
                shape = (spec.channels, *SIZE.unpack(content[: SIZE.size].tobytes()))
                content = content[SIZE.size :]
            size = math.prod(shape)
            if notes is not None and len(content) > size:
                notes.extend((code, detail) for code, detail in json.loads(content[size:].tobytes()))
            return content[:size].reshape(shape), pixels
        except BadInput as error:
            error.item = item
            raise

    async def _watched(self, work: Coroutine[Any, Any, Decoded]) -> Decoded:
        """Do work for a caller who may leave at any time; its decoder then has a moment to finish before it is killed."""
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, task.cancel)
            raise
        finally:
            del task  # its exception refers to this frame: a reference cycle would keep the file until garbage collection

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved, since the caller may have left

    async def _decoded(self, data: bytes, what: bytes) -> Decoded:
        budget = TimeBudget(self.seconds)
        try:
            try:
                return await self._tried(data, what, budget)
            except Died:  # the process may have been killed for a reason unrelated to the picture
                pass
            return await self._tried(data, what, budget, fresh=True)
        except Died:
            raise Undecodable("the decoder crashed twice on this picture; it is probably corrupt") from None
        except TimeoutError:
            raise TooCostly(
                f"decoding the picture took longer than {self.seconds:g} seconds (VAE_DECODE_SECONDS); send a smaller one"
            ) from None
        except MemoryError:
            raise TooCostly(
                "decoding the picture needs more memory than its header declares; the file is probably corrupt"
            ) from None

    async def _tried(self, data: bytes, what: bytes, budget: TimeBudget, fresh: bool = False) -> Decoded:
        if len(data) <= min(SMALL_FILE, self._small_bytes // OPENING_WEBP):
            decoded = await self._small(data, what, budget, fresh)
            if decoded is not None:
                return decoded
        return await self._large(data, what, budget, fresh)

    async def _small(self, data: bytes, what: bytes, budget: TimeBudget, fresh: bool) -> Decoded | None:
        """Decode a small picture. Return None if it is not small after all."""
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

    async def _large(self, data: bytes, what: bytes, budget: TimeBudget, fresh: bool) -> Decoded:
        opening = len(data) * (OPENING_WEBP if data.startswith(b"RIFF") else OPENING)
        self._check(opening)
        async with self._for_large, self._any:
            with MemoryShare(self._memory) as share:
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
        if cost > self._memory.total:
            raise TooCostly(
                f"decoding the picture needs {cost} bytes of memory; at most {self._memory.total} are available to one "
                f"picture (from VAE_MAX_DECODED_BYTES={self.max_bytes}). Send a smaller picture or another format"
            )


def _cost(content: bytes) -> int:
    return int(NUMBER.unpack(content)[0])


def _result(kind: bytes, content: bytes) -> Decoded:
    """Unpack an answer of a decoder. Raise BadInput or MemoryError if it says so."""
    if kind == SPENT:
        raise MemoryError
    if kind == FAILED:
        name, reason = json.loads(content)
        error: type[BadInput] = getattr(errors, name)
        raise error(reason)
    return np.frombuffer(content, np.uint8, offset=NUMBER.size).copy(), NUMBER.unpack_from(content)[0]
