"""The receiving side of a request: its body within the bounds, and a client that leaves or whose deadline passes.

Knows nothing of what is done with a body.
"""

import asyncio
import time
from typing import Any

from service.asgi import Receive
from service.http.body_memory import COUNTED_FROM, BodyShare, stated_length
from service.http.problems import HttpError

# about a batch: only after so long is it worth noticing that a client leaves
PATIENCE_SECONDS = 0.05
# operations look at their deadlines themselves, and say more; whatever takes them too long in between ends so much later
BEHIND_SECONDS = 0.04
# chunks below this are put together as they come: objects of a few bytes each would take many times their bytes
SMALL_CHUNK, JOINED_CHUNK = 1 << 12, 1 << 16


class ClientGone(Exception):
    """The client hung up before its body was complete."""


class BodyTooLarge(HttpError):
    """More bytes than allowed; noticed while reading, or before, from Content-Length."""

    status, code = 413, "body_too_large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the body has more than {max_bytes} bytes (VAE_MAX_BODY_BYTES)")


class DisconnectTimer:
    """Tells requests that take longer than a moment to look after their clients: one timer for all, not one for each."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        # since the last look, and since the one before it
        self._young: dict[ClientWatch, None] = {}
        self._old: dict[ClientWatch, None] = {}

    def add(self, watch: "ClientWatch") -> None:
        """Tell it in a moment."""
        self._young[watch] = None
        if self._timer is None:
            self._rest()

    def discard(self, watch: "ClientWatch") -> None:
        """Its request is done with."""
        self._young.pop(watch, None)
        self._old.pop(watch, None)

    def _rest(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS / 2, self._look)

    def _look(self) -> None:
        long, self._old, self._young = self._old, self._young, {}
        for watch in long:
            watch.listen()
        self._timer = None
        if self._old:
            self._rest()


class ClientWatch:
    """Cancels the operation when the client hangs up before the answer is ready, or when its deadline has passed."""

    def __init__(self, receive: Receive, timer: DisconnectTimer) -> None:
        self._receive, self._timer = receive, timer
        self._caller: asyncio.Task[Any] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.gone = self.late = False

    def limit(self, deadline: float | None) -> None:
        """Give up at a deadline, in the time of `time.monotonic`, should the operation not have done so itself."""
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
    """The whole body. `stated`: its Content-Length. Raises BodyTooLarge and MemoryFull as soon as it is known, ClientGone."""
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
