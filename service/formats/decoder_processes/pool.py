"""A pool of decoder processes: starts and replaces them, and counts those that end early. Knows nothing of pictures."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from service.formats.decoder_processes.fork_server import DecoderSource, DecoderUnavailable
from service.formats.decoder_processes.process import DecoderProcess, Died

log = logging.getLogger(__name__)

# An idle decoder that has died is replaced after this pause, so that decoders that die at once are not forked in a busy loop.
PAUSE_SECONDS = 1.0
# Why a decoder is killed, by the error of the caller that had borrowed it; any other reason is "left".
REASONS = {TimeoutError: "time", Died: "crash", MemoryError: "memory"}

T = TypeVar("T")


class DecoderPool:
    """A pool of a limited number of processes, which are started when they are needed.

    `ended` counts processes that were killed or have died, by reason: crash, memory, time, left (by the caller).
    """

    def __init__(self, processes: int) -> None:
        self.ended: Counter[str] = Counter()
        self._source = DecoderSource()
        self._idle: list[DecoderProcess] = []
        self._busy: set[DecoderProcess] = set()
        self._tasks: set[asyncio.Task[Any]] = set()  # these are never cancelled
        self._processes, self._coming, self._ahead, self._closed = processes, 0, False, False

    async def start(self) -> None:
        """Start all processes now and keep their number. If that fails, each picture that needs one tries again."""
        self._ahead = True
        while self._are_missing() and not self._closed:
            try:
                self._keep(await self._started())
            except DecoderUnavailable:  # it was logged where it was raised
                return

    def _are_missing(self) -> bool:
        return len(self._idle) + len(self._busy) + self._coming < self._processes

    def _keep(self, child: DecoderProcess) -> None:
        """Keep a decoder for the next picture, or end it if there are enough."""
        if self._closed or len(self._idle) + len(self._busy) >= self._processes:
            self._beside(child.end())
        else:
            self._idle.append(child)
            child.watch(partial(self._has_died, child))

    def _has_died(self, child: DecoderProcess) -> None:
        """Remove a decoder that has died while it was idle."""
        child.unwatch()
        self._idle.remove(child)
        self._end(child, "crash", "at rest", PAUSE_SECONDS)

    def _rested(self) -> DecoderProcess | None:
        """Return an idle decoder that is alive, or None."""
        while self._idle:
            child = self._idle[-1]
            if not child.is_gone():
                child.unwatch()
                return self._idle.pop()
            self._has_died(child)
        return None

    def kill(self) -> None:
        """Kill all busy decoders and start no more."""
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
        """Lend a decoder for a picture of so many bytes. `fresh`: start a new one, since idle ones may be about to die.

        The decoder is killed if it is not idle afterwards. Raise DecoderUnavailable.
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
        except Exception as error:
            reason = REASONS.get(type(error), "left")
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
        if error is not None and not isinstance(error, DecoderUnavailable):  # that one was logged where it was raised
            log.error("starting or ending a decoder failed", exc_info=error)

    def _replace(self) -> None:
        if self._ahead and not self._closed:
            self._beside(self.start())

    def _end(self, child: DecoderProcess, reason: str, occasion: str, pause: float = 0.0) -> "asyncio.Task[None]":
        """Kill a decoder and start another one after a pause. The returned task is done when its memory is free."""
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
        except asyncio.CancelledError:  # it will be ready in a moment; keep it for the next picture
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
