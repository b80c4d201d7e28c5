"""A decoder process as the service sees it: started, asked over a socket, ended. Knows nothing of what is decoded."""

import asyncio
import os
import socket
import subprocess
import sys

from service.decoder import ANSWER, FAILED, NUMBER, PIXELS, REQUEST

# what goes in one piece: fewer turns of two processes
JOINED_BYTES = 1 << 16


class Died(Exception):
    """The process is gone."""


class DecoderProcess:
    """A process, and our end of its socket. It is at rest when nothing of an exchange is under way."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-c", _program()],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # what a terminal sends to all is for the service alone
            )
        ours.setblocking(False)
        self._socket, self.at_rest = ours, True

    @classmethod
    async def start(cls) -> "DecoderProcess":
        """One that is ready. Raises Died when it could not start."""
        child = await asyncio.to_thread(cls)
        try:
            await child._receive(1)
        except BaseException:
            await child.end()
            raise
        return child

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
        answer = await self._receive(ANSWER.size, JOINED_BYTES)
        kind, length = ANSWER.unpack_from(answer)
        content = answer[ANSWER.size :]
        if len(content) < length:
            content += await self._receive(length - len(content))
        self.at_rest = kind in (PIXELS, FAILED)
        return kind, content

    async def _send(self, data: bytes | memoryview) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError:
            raise Died from None

    async def _receive(self, size: int, most: int = 0) -> bytes:
        """So many bytes; of what is there already so many at most, if that is more."""
        parts, missing = [], size
        while missing > 0:
            try:
                part = await asyncio.get_running_loop().sock_recv(self._socket, max(missing, most))
            except OSError:
                raise Died from None
            if not part:
                raise Died
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    async def end(self) -> int:
        """Its exit status; it is killed if it has not ended by itself."""
        self.process.kill()
        self._socket.close()
        return await asyncio.to_thread(self.process.wait)


def _program() -> str:
    """What a child runs: it imports what we would, from where we would."""
    places = [os.path.abspath(place) for place in sys.path]
    lone = "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'"  # threads of numpy would only take memory
    return f"import sys; sys.path[:] = {places!r}; {lone}; from service.decoder import main; main()"
