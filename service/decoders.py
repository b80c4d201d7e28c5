"""Pictures -> the model's pixels in processes of their own, within bounds on memory and time whatever the pictures are.

Nobody waits longer for a decoder than his own deadline, since a process can be ended and a thread cannot. Small pictures have
a decoder more than large ones, so that they need not wait for those. Knows nothing of HTTP or of batches.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import numpy as np

from models.preprocess import Pixels, Preprocessing
from service import codecs
from service.codecs import BadInput, TooCostly, Undecodable
from service.decoder import FAILED, NEED, NUMBER, SPENT
from service.decoder_process import DecoderProcess, Died, ForkServer

log = logging.getLogger(__name__)

# A file of no more bytes is tried as a small picture first: one whose decoding takes no more memory and time than this.
SMALL_FILE, SMALL_BYTES, SMALL_SECONDS = 1 << 20, 8 << 20, 1.0
# how long a decoder may still work for a caller who is gone, before it is ended, which costs a new one's start
GRACE_SECONDS = 0.2
# a process that has had so much is replaced, so that all of it is given back for certain
WORN_BYTES = 64 << 20
# how much memory opening a file takes, in files: WebP's decoder copies it twice
OPENING, OPENING_WEBP = 2, 4

Decoded = tuple[Pixels, int]
T = TypeVar("T")


class _Large(Exception):
    """Not a small picture after all."""


class _Room:
    """Bytes that decoders may take, all together. Only one at a time may wait for it, so that nobody waits in vain."""

    def __init__(self, total: int) -> None:
        self.total = self.left = total
        self._freed = asyncio.Event()

    async def take(self, size: int) -> None:
        while size > self.left:
            self._freed.clear()
            await self._freed.wait()
        self.left -= size

    def give_back(self, size: int) -> None:
        self.left += size
        self._freed.set()


class Decoders:
    """So many processes, and one more for small pictures; they are started when they are needed.

    `ended` counts those that were ended or have ended early, by reason: crash, memory, time, left (by the caller).
    """

    def __init__(self, processes: int, max_pixels: int, max_bytes: int, seconds: float) -> None:
        """`max_bytes`: what decoding takes at a time, of all pictures together; `seconds`: what one of them may take."""
        self.max_pixels, self.max_bytes, self.seconds = max_pixels, max_bytes, seconds
        self.ended: Counter[str] = Counter()
        self._small_bytes = min(SMALL_BYTES, max_bytes // (2 * processes + 2))
        self._room = _Room(max_bytes - (processes + 1) * self._small_bytes)
        self._any, self._for_large = asyncio.Semaphore(processes + 1), asyncio.Semaphore(processes)
        self._opening = asyncio.Lock()
        self._fork_server = ForkServer()
        self._idle: list[DecoderProcess] = []
        self._busy: set[DecoderProcess] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._processes, self._coming, self._ahead, self._closed = processes + 1, 0, False, False

    async def start(self) -> None:
        """Have all processes there before they are needed, from now on."""
        self._ahead = True
        while len(self._idle) + len(self._busy) + self._coming < self._processes and not self._closed:
            self._coming += 1
            try:
                child = await self._started()
            finally:
                self._coming -= 1
            await self._keep(child)

    async def _keep(self, child: DecoderProcess) -> None:
        """Have a decoder for the next picture, unless there are enough."""
        if self._closed or len(self._idle) + len(self._busy) >= self._processes:
            await child.end()
        else:
            self._idle.append(child)

    async def close(self) -> None:
        """End all processes."""
        self._closed = True
        for child in self._busy:
            child.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *(child.end() for child in self._idle), return_exceptions=True)
        self._idle.clear()
        await self._fork_server.close()

    async def decode(self, data: bytes, spec: Preprocessing, spent: int = 0, item: int | None = None) -> Decoded:
        """uint8 (C, H, W) of a picture file, and its own pixels; `spent`: those of the request's others. Raises BadInput."""
        shape = [spec.channels, spec.height, spec.width, spec.fit, spec.filter]
        what = json.dumps({"spec": shape, "max_pixels": self.max_pixels, "spent": spent}).encode()
        try:
            if len(data) <= min(SMALL_FILE, self._small_bytes // OPENING_WEBP):
                try:
                    content, pixels = await self._watched(self._small(data, what))
                    return content.reshape(spec.shape), pixels
                except _Large:
                    pass
            content, pixels = await self._watched(self._large(data, what))
            return content.reshape(spec.shape), pixels
        except BadInput as error:
            error.item = item
            raise

    async def _watched(self, work: Coroutine[Any, Any, Decoded]) -> Decoded:
        """Work that a caller may leave at any time; what a decoder has begun is then given a moment to end well."""
        task = self._beside(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, task.cancel)
            raise
        finally:
            del task  # its error refers to this frame: as a circle they would keep the file until garbage is collected

    def _beside(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to look at it

    async def _small(self, data: bytes, what: bytes) -> Decoded:
        async with self._any, self._child(data) as child:
            opening = OPENING_WEBP * len(data)
            try:
                kind, content = await child.ask(data, what, opening, self._small_bytes, min(self.seconds, SMALL_SECONDS))
            except TimeoutError:
                if self.seconds > SMALL_SECONDS:
                    raise _Large from None
                raise
            if kind == NEED:
                await child.forget()
                raise _Large
            return _result(kind, content)

    async def _large(self, data: bytes, what: bytes) -> Decoded:
        async with self._for_large, self._any, self._child(data) as child:
            taken = 0
            try:
                async with self._opening:  # one at a time, see _Room
                    opening = len(data) * (OPENING_WEBP if data.startswith(b"RIFF") else OPENING)
                    self._check(opening)
                    await self._room.take(opening)
                    taken = opening
                    kind, content = await child.ask(data, what, opening, 0, self.seconds)
                    if kind == NEED:
                        (cost,) = NUMBER.unpack(content)
                        if cost > self._room.total:
                            await child.forget()
                            self._check(cost)
                        await self._room.take(max(0, cost - taken))
                        taken = max(cost, taken)
                child.is_worn = taken > WORN_BYTES
                if kind == NEED:
                    kind, content = await child.go_on(cost, self.seconds)
                return _result(kind, content)
            finally:
                self._room.give_back(taken)

    def _check(self, cost: int) -> None:
        if cost > self._room.total:
            raise TooCostly(
                f"decoding the picture takes {cost} bytes of memory, at most {self._room.total} are there for one "
                f"(VAE_MAX_DECODED_BYTES is {self.max_bytes}): send it smaller, or in another format"
            )

    @asynccontextmanager
    async def _child(self, data: bytes) -> AsyncIterator[DecoderProcess]:
        """A decoder for a picture; it is ended when it is not at rest afterwards. Raises BadInput for its end."""
        child = self._idle.pop() if self._idle else await self._started()
        self._busy.add(child)
        reason = "left"
        try:
            yield child
        except TimeoutError:
            reason = "time"
            raise TooCostly(
                f"decoding the picture took longer than {self.seconds:g} seconds (VAE_DECODE_SECONDS): send it smaller"
            ) from None
        except Died:
            reason = "crash"
            raise Undecodable("the decoder failed at this picture, which must be broken") from None
        except MemoryError:
            reason = "memory"
            raise TooCostly("decoding the picture takes more memory than its size and format say: it must be broken") from None
        except _Large:
            reason = "time"
            raise
        finally:
            self._busy.discard(child)
            if not child.at_rest or self._closed:
                await self._bury(child, reason, len(data))
            elif child.is_worn or len(self._idle) + len(self._busy) >= self._processes:
                self._beside(child.end())
                self._replace()
            else:
                self._idle.append(child)

    def _replace(self) -> None:
        if self._ahead:
            self._beside(self.start())

    async def _bury(self, child: DecoderProcess, reason: str, size: int) -> None:
        status = await asyncio.shield(child.end())
        if not self._closed:
            self._replace()
            self.ended[reason] += 1
            level = logging.INFO if reason == "left" else logging.WARNING
            log.log(level, "a decoder was replaced (%s, status %s) at a picture of %d bytes", reason, status, size)

    async def _started(self) -> DecoderProcess:
        starting = asyncio.create_task(self._fork_server.decoder())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:  # it is there in a moment, for the next one
            await self._keep(await starting)
            raise


def _result(kind: bytes, content: bytes) -> Decoded:
    """Raises BadInput, MemoryError."""
    if kind == SPENT:
        raise MemoryError
    if kind == FAILED:
        name, reason = json.loads(content)
        error: type[BadInput] = getattr(codecs, name)
        raise error(reason)
    return np.frombuffer(content, np.uint8, offset=NUMBER.size).copy(), NUMBER.unpack_from(content)[0]
