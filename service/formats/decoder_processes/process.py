"""Controls one decoder process: asks it over a socket, watches it, kills it. Knows nothing of what is decoded."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from service.formats.decoder_processes.child import ANSWER, FAILED, NUMBER, PIXELS, REQUEST

# Up to this size, a request is sent and an answer is received in one piece, which saves context switches.
JOINED_BYTES = 1 << 16
# Far more time than a killed process takes to end, unless something is wrong with the system.
STOP_SECONDS = 5.0


class Died(Exception):
    """The process has ended."""


class Parent(Protocol):
    """The process that a decoder was forked from."""

    def can_signal(self) -> bool:
        """Return whether the process ids of its decoders certainly still belong to them."""

    async def wait(self, pid: int, handle: int | None) -> int | None:
        """Wait for a decoder that is ending. Return its exit status, or None if it cannot be found out."""


async def receive(connection: socket.socket, size: int, most: int = 0) -> bytes:
    """Receive `size` bytes, and more, up to `most`, if they are there already. Raise Died."""
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
    """A decoder process and our end of its socket.

    `at_rest`: it has answered and waits for a request. `is_worn`: it has used much memory and should be replaced.
    """

    def __init__(self, parent: Parent, pid: int, connection: socket.socket, handle: int | None) -> None:
        self._parent, self._pid, self._socket, self._handle = parent, pid, connection, handle
        self.at_rest, self.is_worn, self._ends = True, False, False

    async def ask(self, data: bytes, what: bytes, opening: int, granted: int, seconds: float) -> tuple[bytes, bytes]:
        """Send a picture with its description. Return the kind and content of the answer. Raise Died or TimeoutError.

        `opening` and `granted`: memory for opening and for decoding the file, in bytes.
        """
        self.at_rest = False
        async with asyncio.timeout(seconds):
            head = REQUEST.pack(len(what), len(data), opening, granted, seconds) + what
            await self._send(head + data[:JOINED_BYTES])
            if len(data) > JOINED_BYTES:
                await self._send(memoryview(data)[JOINED_BYTES:])
            return await self._answer()

    async def go_on(self, granted: int, seconds: float) -> tuple[bytes, bytes]:
        """Grant the memory that the decoder has asked for. Return and raise the same as `ask`."""
        async with asyncio.timeout(seconds):
            await self._send(NUMBER.pack(granted))
            return await self._answer()

    async def forget(self) -> None:
        """Refuse the memory that the decoder has asked for, so that it drops the picture."""
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
        """Call `gone` if the process ends while it is at rest. It sends nothing then, so any event is its end."""
        asyncio.get_running_loop().add_reader(self._socket, gone)

    def unwatch(self) -> None:
        """Stop watching. Call this before the decoder is asked or ended."""
        asyncio.get_running_loop().remove_reader(self._socket)

    def is_gone(self) -> bool:
        """Return whether the process has ended while it was at rest."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def kill(self) -> bool:
        """Kill the process. Return False if its id may belong to another one: it then ends with its socket or its timer."""
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
        """Kill the process and wait until its memory is free: only after that does the kernel close its socket."""
        with suppress(Died, TimeoutError):
            async with asyncio.timeout(STOP_SECONDS if self.kill() else 0):
                while True:
                    await receive(self._socket, 1, JOINED_BYTES)

    async def end(self) -> int | None:
        """Kill the process if it has not ended, and return its exit status, or None if it is not known."""
        self.kill()
        self._ends = True
        self._socket.close()
        handle, self._handle = self._handle, None
        try:
            return await self._parent.wait(self._pid, handle)
        finally:
            if handle is not None:
                os.close(handle)
