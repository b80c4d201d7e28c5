"""The receiving side of a request: reads its body within the limits, and cancels the operation if the client disconnects or
the deadline passes.

Knows nothing about what is done with a body.
"""

import asyncio
import time
from typing import Any

from service.asgi import Receive
from service.http.body_memory import COUNTED_FROM, BodyShare, stated_length
from service.http.problems import HttpError

# About the time of one batch. For shorter requests it is not worth watching for a disconnect.
PATIENCE_SECONDS = 0.05
# Operations check their deadlines themselves, with better error messages. An operation that misses its deadline is cancelled
# this much later.
BEHIND_SECONDS = 0.04
# Chunks up to SMALL_CHUNK bytes are joined as they arrive, since many small bytes objects take far more memory than their
# content.
SMALL_CHUNK, JOINED_CHUNK = 1 << 12, 1 << 16


class ClientGone(Exception):
    """The client disconnected before its body was complete."""


class BodyTooLarge(HttpError):
    """The body is larger than allowed, by its Content-Length or by the bytes that have arrived."""

    status, code = 413, "body_too_large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the body is larger than the {max_bytes} bytes that are allowed (VAE_MAX_BODY_BYTES)")


class DisconnectTimer:
    """Starts to watch for disconnects on requests that take longer than PATIENCE_SECONDS. All requests share one timer."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        # requests added since the last tick, and between the last two ticks
        self._young: dict[ClientWatch, None] = {}
        self._old: dict[ClientWatch, None] = {}

    def add(self, watch: "ClientWatch") -> None:
        """Start this watch soon, unless it is discarded before."""
        self._young[watch] = None
        if self._timer is None:
            self._schedule()

    def discard(self, watch: "ClientWatch") -> None:
        """Forget this watch, because its request is finished."""
        self._young.pop(watch, None)
        self._old.pop(watch, None)

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS / 2, self._tick)

    def _tick(self) -> None:
        long, self._old, self._young = self._old, self._young, {}
        for watch in long:
            watch.listen()
        self._timer = None
        if self._old:
            self._schedule()


class ClientWatch:
    """Cancels the operation if the client disconnects before the answer is ready, or if the deadline passes."""

    def __init__(self, receive: Receive, timer: DisconnectTimer) -> None:
        self._receive, self._timer = receive, timer
        self._caller: asyncio.Task[Any] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.gone = self.late = False

    def limit(self, deadline: float | None) -> None:
        """Cancel the operation after a deadline on the clock of time.monotonic, unless it ends before."""
        if deadline is not None:
            if self._deadline is not None:
                self._deadline.cancel()
            delay = max(0.0, deadline - time.monotonic()) + BEHIND_SECONDS
            self._deadline = asyncio.get_running_loop().call_later(delay, self._give_up)

    def _give_up(self) -> None:
        self.late = True
        if self._caller is not None:
            self._caller.cancel()

    def start(self) -> None:
        self._caller = asyncio.current_task()
        self._timer.add(self)

    def listen(self) -> None:
        self._listener = asyncio.ensure_future(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._caller is not None:
            self._caller.cancel()

    def stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.stop_listening()

    def stop_listening(self) -> None:
        self._timer.discard(self)
        if self._listener is not None:
            self._listener.cancel()


async def read_body(stated: str, receive: Receive, max_bytes: int, share: BodyShare) -> bytes:
    """Return the whole body. `stated`: its Content-Length.

    Raises BodyTooLarge and MemoryFull as early as possible, and ClientGone.
    """
    length = stated_length(stated)
    if length is not None:
        if length > max_bytes:
            raise BodyTooLarge(max_bytes)
        if length > COUNTED_FROM:
            share.check(length)
    chunks: list[bytes] = []
    small, size = bytearray(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(max_bytes)
        if size > COUNTED_FROM:
            share.hold(size)
        more = message.get("more_body", False)
        if not more and not small:
            return b"".join([*chunks, chunk]) if chunks else chunk
        small += chunk
        if not more or len(chunk) > SMALL_CHUNK or len(small) > JOINED_CHUNK:
            chunks.append(bytes(small))
            small.clear()
        if not more:
            return b"".join(chunks)
