"""A decoder process as the service sees it: asked over a socket, watched, ended. Knows nothing of what is decoded."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from service.formats.decoding.decoder import ANSWER, FAILED, NUMBER, PIXELS, REQUEST

# what goes in one piece: fewer turns of two processes
JOINED_BYTES = 1 << 16
# far more than a process that is killed takes to end, unless the system is at fault
STOP_SECONDS = 5.0


class Died(Exception):
    """The process is gone."""


class Parent(Protocol):
    """The process that a decoder was forked from."""

    def can_signal(self) -> bool:
        """Whether the process ids of its decoders are their own for certain."""

    async def wait(self, pid: int, handle: int | None) -> int | None:
        """The exit status of a decoder that ends; None when nobody knows."""


async def receive(connection: socket.socket, size: int, most: int = 0) -> bytes:
    """So many bytes; of what is there already so many at most, if that is more. Raises Died."""
    parts, missing = [], size
    while missing > 0:
        try:
            part = await asyncio.get_running_loop().sock_recv(connection, max(missing, most))
        except OSError:
            raise Died from None
        if not part:
            raise Died
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class DecoderProcess:
    """A decoder, and our end of its socket. It is at rest when nothing of an exchange is under way, and worn when it has had
    much memory.
    """

    def __init__(self, parent: Parent, pid: int, connection: socket.socket, handle: int | None) -> None:
        self._parent, self._pid, self._socket, self._handle = parent, pid, connection, handle
        self.at_rest, self.is_worn, self._ends = True, False, False

    async def ask(self, data: bytes, what: bytes, opening: int, granted: int, seconds: float) -> tuple[bytes, bytes]:
        """Kind and content of its answer. Raises Died, TimeoutError."""
        self.at_rest = False
        async with asyncio.timeout(seconds):
            head = REQUEST.pack(len(what), len(data), opening, granted, seconds) + what
            await self._send(head + data[:JOINED_BYTES])
            if len(data) > JOINED_BYTES:
                await self._send(memoryview(data)[JOINED_BYTES:])
            return await self._answer()

    async def go_on(self, granted: int, seconds: float) -> tuple[bytes, bytes]:
        """The same after it has said what it needs, and was granted it."""
        async with asyncio.timeout(seconds):
            await self._send(NUMBER.pack(granted))
            return await self._answer()

    async def forget(self) -> None:
        """It has said what it needs, and does not get it."""
        await self._send(NUMBER.pack(0))
        self.at_rest = True

    async def _answer(self) -> tuple[bytes, bytes]:
        answer = await receive(self._socket, ANSWER.size, JOINED_BYTES)
        kind, length = ANSWER.unpack_from(answer)
        content = answer[ANSWER.size :]
        if len(content) < length:
            content += await receive(self._socket, length - len(content))
        self.at_rest = kind in (PIXELS, FAILED)
        return kind, content

    async def _send(self, data: bytes | memoryview) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError:
            raise Died from None

    def watch(self, gone: Callable[[], None]) -> None:
        """Be told when it ends while it is at rest: it says nothing unless it is asked."""
        asyncio.get_running_loop().add_reader(self._socket, gone)

    def unwatch(self) -> None:
        """Before it is asked, or ended."""
        asyncio.get_running_loop().remove_reader(self._socket)

    def is_gone(self) -> bool:
        """Whether it has ended while it was at rest."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def kill(self) -> bool:
        """Have it end at once. False where that might hit another process: it ends when its socket is closed, or by timer."""
        if self._ends:
            return False
        with suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            elif self._parent.can_signal():
                os.kill(self._pid, signal.SIGKILL)
            else:
                return False
        return True

    async def stop(self) -> None:
        """Kill it and wait until its memory is free, whatever its parent does: its socket is closed after that."""
        with suppress(Died, TimeoutError):
            async with asyncio.timeout(STOP_SECONDS if self.kill() else 0):
                while True:
                    await receive(self._socket, 1, JOINED_BYTES)

    async def end(self) -> int | None:
        """Its exit status, where it is known; it is killed if it has not ended by itself."""
        self.kill()
        self._ends = True
        self._socket.close()
        handle, self._handle = self._handle, None
        try:
            return await self._parent.wait(self._pid, handle)
        finally:
            if handle is not None:
                os.close(handle)
