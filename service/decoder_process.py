"""A decoder process as the service sees it: started, asked over a socket, ended. Knows nothing of what is decoded."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

from service.decoder import ANSWER, COMMAND, FAILED, FORK, NUMBER, PIXELS, REQUEST, STATUS, WAIT

# what goes in one piece: fewer turns of two processes
JOINED_BYTES = 1 << 16


# far more than a start takes on the busiest machine
START_SECONDS = 60.0


class Died(Exception):
    """The process is gone."""


class ForkServer:
    """The process that decoders are forked from; it is started when the first one is needed.

    Starting a program from the service itself would hold up the service, all the longer the busier the machine is.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def decoder(self) -> "DecoderProcess":
        """A new one. Raises Died when none can be started."""
        async with self._turn:
            if self._control is not None:
                try:
                    return await self._fork(self._control)
                except Died:  # somebody has killed it
                    await self._end()
            return await self._fork(await self._start())

    async def _fork(self, control: socket.socket) -> "DecoderProcess":
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                socket.send_fds(control, [COMMAND.pack(FORK, 0)], [theirs.fileno()])
            async with asyncio.timeout(START_SECONDS):
                (pid,) = NUMBER.unpack(await receive(control, NUMBER.size))
        except (OSError, Died, TimeoutError):
            ours.close()
            raise Died from None
        return DecoderProcess(self, pid, ours)

    async def wait(self, pid: int) -> int:
        """The exit status of a decoder that ends."""
        async with self._turn:
            if self._control is None:
                return -1
            try:
                self._control.send(COMMAND.pack(WAIT, pid))
                (status,) = STATUS.unpack(await receive(self._control, STATUS.size))
            except (OSError, Died):  # it is gone, and whoever cares for orphans waits for them
                return -1
        return int(status)

    async def close(self) -> None:
        """End it; its decoders end when their sockets are closed."""
        async with self._turn:
            await self._end()

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._control = ours
        try:
            with theirs:
                self._process = await asyncio.to_thread(_start_program, theirs)
            async with asyncio.timeout(START_SECONDS):
                await receive(ours, NUMBER.size)
        except TimeoutError:
            await self._end()
            raise Died from None
        except BaseException:
            await self._end()
            raise
        return ours

    async def _end(self) -> None:
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            control.close()
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)


def _start_program(standard_input: socket.socket) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-c", _program()],
        stdin=standard_input.fileno(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # what a terminal sends to all is for the service alone
    )


def _program() -> str:
    """What it runs: it imports what we would, from where we would."""
    places = [os.path.abspath(place) for place in sys.path]
    lone = "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'"  # one thread can be forked, and takes less memory
    return f"import sys; sys.path[:] = {places!r}; {lone}; from service.decoder import main; main()"


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

    def __init__(self, fork_server: ForkServer, pid: int, connection: socket.socket) -> None:
        self._fork_server, self._pid, self._socket = fork_server, pid, connection
        self.at_rest, self.is_worn = True, False

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

    def kill(self) -> None:
        """Have it end at once; its process id is its own until it is waited for."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    async def end(self) -> int:
        """Its exit status; it is killed if it has not ended by itself."""
        self.kill()
        self._socket.close()
        return await self._fork_server.wait(self._pid)
