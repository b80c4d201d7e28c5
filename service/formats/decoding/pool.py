"""The decoders of the service, each at work on one picture or at rest: started, replaced, counted when they end early.

Knows nothing of pictures.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from service.formats.decoding.fork_server import DecoderSource, DecoderUnavailable
from service.formats.decoding.process import DecoderProcess, Died

log = logging.getLogger(__name__)

# One that has died at rest is replaced so much later: should all die at once, they are not forked without end.
PAUSE_SECONDS = 1.0

T = TypeVar("T")


class DecoderPool:
    """So many processes at most; they are started when they are needed.

    `ended` counts those that were ended or have ended early, by reason: crash, memory, time, left (by the caller).
    """

    def __init__(self, processes: int) -> None:
        self.ended: Counter[str] = Counter()
        self._source = DecoderSource()
        self._idle: list[DecoderProcess] = []
        self._busy: set[DecoderProcess] = set()
        self._tasks: set[asyncio.Task[Any]] = set()  # none of them is cancelled
        self._processes, self._coming, self._ahead, self._closed = processes, 0, False, False

    async def start(self) -> None:
        """Have all processes there before they are needed, from now on; if that fails, pictures that need one try again."""
        self._ahead = True
        while self._are_missing() and not self._closed:
            try:
                self._keep(await self._started())
            except DecoderUnavailable:  # the log has it
                return

    def _are_missing(self) -> bool:
        return len(self._idle) + len(self._busy) + self._coming < self._processes

    def _keep(self, child: DecoderProcess) -> None:
        """Have a decoder for the next picture, unless there are enough."""
        if self._closed or len(self._idle) + len(self._busy) >= self._processes:
            self._beside(child.end())
        else:
            self._idle.append(child)
            child.watch(partial(self._has_died, child))

    def _has_died(self, child: DecoderProcess) -> None:
        """It was killed while nobody needed it."""
        child.unwatch()
        self._idle.remove(child)
        self._end(child, "crash", "at rest", PAUSE_SECONDS)

    def _rested(self) -> DecoderProcess | None:
        """One that is there already, and alive."""
        while self._idle:
            child = self._idle[-1]
            if not child.is_gone():
                child.unwatch()
                return self._idle.pop()
            self._has_died(child)
        return None

    def kill(self) -> None:
        """Have all end that are at work, and start no more."""
        self._closed = True
        for child in self._busy:
            child.kill()

    async def close(self) -> None:
        """End all processes."""
        self.kill()
        for child in self._idle:
            child.unwatch()
            self._beside(child.end())
        self._idle.clear()
        await self._source.close()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def child(self, size: int, fresh: bool = False) -> AsyncIterator[DecoderProcess]:
        """A decoder for a picture of so many bytes, a new one if it is to be fresh: those that are there may be about to die.

        It is ended when it is not at rest afterwards. Raises DecoderUnavailable.
        """
        child = self._rested()
        if child is not None and fresh:
            self._beside(child.end())
            child = None
        if child is None:
            child = await self._started()
        self._busy.add(child)
        reason = "left"
        try:
            yield child
        except TimeoutError:
            reason = "time"
            raise
        except Died:
            reason = "crash"
            raise
        except MemoryError:
            reason = "memory"
            raise
        finally:
            self._busy.discard(child)
            if not child.at_rest:
                await asyncio.shield(self._end(child, reason, f"while decoding a picture of {size} bytes"))
            elif child.is_worn:
                self._beside(child.end())
                self._replace()
            else:
                self._keep(child)

    def _beside(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done_beside)
        return task

    def _done_beside(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, DecoderUnavailable):  # which the log has
            log.error("a decoder was not started or ended as it should be", exc_info=error)

    def _replace(self) -> None:
        if self._ahead and not self._closed:
            self._beside(self.start())

    def _end(self, child: DecoderProcess, reason: str, occasion: str, pause: float = 0.0) -> "asyncio.Task[None]":
        """End a decoder early, and have another one after a pause; the task is done when its memory is free."""
        if not self._closed:
            self.ended[reason] += 1
        stopping = self._beside(child.stop())
        self._beside(self._bury(child, stopping, reason, occasion, pause))
        return stopping

    async def _bury(
        self, child: DecoderProcess, stopping: "asyncio.Task[None]", reason: str, occasion: str, pause: float
    ) -> None:
        await stopping
        status = await child.end()
        if not self._closed:
            level = logging.INFO if reason == "left" else logging.WARNING
            known = "unknown" if status is None else status
            log.log(level, "decoder ended (%s, exit status %s) %s; starting another", reason, known, occasion)
            asyncio.get_running_loop().call_later(pause, self._replace)

    async def _started(self) -> DecoderProcess:
        starting = self._beside(self._forked())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:  # it is there in a moment, for the next one
            starting.add_done_callback(self._keep_late)
            raise

    async def _forked(self) -> DecoderProcess:
        self._coming += 1
        try:
            return await self._source.decoder()
        finally:
            self._coming -= 1

    def _keep_late(self, starting: "asyncio.Task[DecoderProcess]") -> None:
        if not starting.cancelled() and starting.exception() is None:
            self._keep(starting.result())
