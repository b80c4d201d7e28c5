"""Controls the fork server, the process from which decoders are forked: starts it, commands it, replaces it when it dies.

Knows nothing of what is decoded.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from service.formats.decoder_processes.child import COMMAND, FORK, NO_STATUS, REPLY, WAIT
from service.formats.decoder_processes.process import DecoderProcess, Died, receive

log = logging.getLogger(__name__)

# Time limits for starting the program, for its replies, and for its end: far more than each takes on the busiest machine.
START_SECONDS, REPLY_SECONDS, END_SECONDS = 60.0, 10.0, 1.0
# Pause after a failed start. Without it, all waiting pictures would try to start the program one after the other.
PAUSE_SECONDS = 1.0


class DecoderUnavailable(Exception):
    """No decoder process can be started."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no process that decodes pictures can be started ({reason}); try again in a moment")
        self.reason = reason


class DecoderSource:
    """Makes decoders with a fork server, which it starts with the first decoder, and again if the fork server has died.

    Starting each decoder as a program would hold up the service, and longer the busier the machine is.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._server: ForkServer | None = None
        self._failure, self._failed, self._closed = "", 0.0, False

    async def decoder(self) -> DecoderProcess:
        """Make a new decoder. Do not cancel this. Raise DecoderUnavailable."""
        async with self._turn:
            if self._failure and time.monotonic() < self._failed + PAUSE_SECONDS:
                raise DecoderUnavailable(self._failure)
            try:
                decoder = await self._forked()
            except (DecoderUnavailable, Died, OSError) as error:
                self._failure, self._failed = getattr(error, "reason", str(error)), time.monotonic()
                if not self._closed:
                    log.error("no process that decodes pictures can be started: %s", self._failure)
                raise DecoderUnavailable(self._failure) from None
            self._failure = ""
            return decoder

    async def _forked(self) -> DecoderProcess:
        if self._server is not None and not self._server.has_ended:
            with suppress(Died):  # the fork server was killed; start another one
                return await self._server.fork()
        if not self._closed:
            self._server = server = await ForkServer.start()
            if not self._closed:
                await server.ready()
                return await server.fork()
        raise DecoderUnavailable("the service is shutting down")

    async def close(self) -> None:
        """End the fork server and all its decoders, even while one is being started."""
        self._closed = True
        if self._server is not None:
            await self._server.close()
        async with self._turn:
            if self._server is not None:
                await self._server.close()


class ForkServer:
    """The process from which decoders are forked. Only it can wait for them, and it kills them when it ends normally."""

    def __init__(self, process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
        self._process, self._control = process, control
        self._turn = asyncio.Lock()
        self.has_ended = False

    @classmethod
    async def start(cls) -> "ForkServer":
        """Start the program, which becomes ready some time later. Raise OSError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                return cls(await asyncio.to_thread(_start_program, theirs), ours)
        except BaseException:
            ours.close()
            raise

    async def ready(self) -> None:
        """Wait until the program takes commands. Raise Died."""
        async with self._turn:
            await self._exchange(b"", seconds=START_SECONDS)
            self._watch()

    async def fork(self) -> DecoderProcess:
        """Fork a new decoder. Raise Died or DecoderUnavailable."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                pid = await self._command(COMMAND.pack(FORK, 0), [theirs.fileno()])
            if pid < 0:
                raise DecoderUnavailable(os.strerror(-pid))
            handle = _handle(pid)
            if pid == 0 or self._process.poll() is not None:  # the process id may belong to another process by now
                if handle is not None:
                    os.close(handle)
                self._kill()
                raise Died("the fork server has ended")
        except BaseException:
            ours.close()
            raise
        return DecoderProcess(self, pid, ours, handle)

    def can_signal(self) -> bool:
        """Return whether the process ids of decoders are still theirs, because their parent lives and can wait for them."""
        return not self.has_ended and self._process.poll() is None

    async def wait(self, pid: int, handle: int | None) -> int | None:
        """Wait for a decoder that is ending. Return its exit status, or None if it cannot be found out."""
        with suppress(Died):
            status = await self._command(COMMAND.pack(WAIT, pid))
            return None if status == NO_STATUS else status
        if handle is None:
            return None
        return await asyncio.to_thread(self._wait_for_orphan, handle)

    def _wait_for_orphan(self, handle: int) -> int | None:
        """Wait for a decoder whose parent has died. Process 1 inherits it, which in a container is this process."""
        self._process.wait()  # until its parent has ended, the decoder is not an orphan
        with suppress(OSError):
            if (found := os.waitid(os.P_PIDFD, handle, os.WEXITED)) is not None:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        return None

    async def close(self) -> None:
        """End the fork server, and with it all its decoders."""
        self.has_ended = True
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)  # this also aborts a command that waits for its reply
        try:
            await asyncio.to_thread(self._process.wait, END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self._unwatch()
        self._control.close()

    async def _command(self, command: bytes, sockets: Sequence[int] = ()) -> int:
        async with self._turn:
            if self.has_ended:
                raise Died("the fork server has ended")
            self._unwatch()
            reply = await self._exchange(command, sockets)
            self._watch()
            return reply

    async def _exchange(self, command: bytes, sockets: Sequence[int] = (), seconds: float = 0.0) -> int:
        """Send a command and return the reply. Without a reply, kill the fork server: a late one would confuse the next."""
        try:
            if command:
                socket.send_fds(self._control, [command], sockets)
            async with asyncio.timeout(seconds or REPLY_SECONDS):
                (reply,) = REPLY.unpack(await receive(self._control, REPLY.size))
        except BaseException as error:
            self._kill()
            if isinstance(error, TimeoutError):
                raise Died(f"the fork server has not answered within {seconds or REPLY_SECONDS:g} seconds") from None
            if isinstance(error, Died | OSError):
                raise Died(f"the fork server has ended{' right after its start' if seconds else ''}") from None
            raise
        return int(reply)

    def _watch(self) -> None:
        """Notice when the program ends, so that it leaves no zombie. It sends nothing by itself, so any event is its end."""
        if not self.has_ended:
            asyncio.get_running_loop().add_reader(self._control, self._kill)

    def _unwatch(self) -> None:
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control)

    def _kill(self) -> None:
        self._unwatch()
        self.has_ended = True
        self._process.kill()
        self._control.close()
        threading.Thread(target=self._process.wait, name="end of the fork server", daemon=True).start()


def _handle(pid: int) -> int | None:
    """Return a pidfd, which can never refer to another process with the same id, or None if the system has none."""
    try:
        return os.pidfd_open(pid) if pid > 0 and hasattr(os, "pidfd_open") else None
    except OSError:
        return None


def _start_program(standard_input: socket.socket) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-c", _program()],
        stdin=standard_input.fileno(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # so that signals from a terminal go only to the service
    )


def _program() -> str:
    """Return the source of the program, which imports modules from the same places as this process."""
    places = [os.path.abspath(place) for place in sys.path]
    lone = "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'"  # only a single thread survives a fork; it saves memory
    return f"import sys; sys.path[:] = {places!r}; {lone}; from service.formats.decoder_processes.child import main; main()"
