"""The process that decoders are forked from, as the service sees it: started, told to fork, replaced when it dies.

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

from service.formats.decoding.decoder import COMMAND, FORK, NO_STATUS, REPLY, WAIT
from service.formats.decoding.process import DecoderProcess, Died, receive

log = logging.getLogger(__name__)

# Far more than each takes on the busiest machine: the start of a program, the answer of one that runs, its end.
START_SECONDS, REPLY_SECONDS, END_SECONDS = 60.0, 10.0, 1.0
# After a start that failed the next one is not tried at once: whoever waits would start programs one after the other.
PAUSE_SECONDS = 1.0


class DecoderUnavailable(Exception):
    """No process that decodes pictures can be started."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no process that decodes pictures can be started ({reason}); try again in a moment")
        self.reason = reason


class DecoderSource:
    """Where decoders come from: a fork server, which is started when the first one is needed, and again when it has died.

    Starting a program from the service itself would hold up the service, all the longer the busier the machine is.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._server: ForkServer | None = None
        self._failure, self._failed, self._closed = "", 0.0, False

    async def decoder(self) -> DecoderProcess:
        """A new one; not to be cancelled. Raises DecoderUnavailable."""
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
            with suppress(Died):  # somebody has killed it
                return await self._server.fork()
        if not self._closed:
            self._server = server = await ForkServer.start()
            if not self._closed:
                await server.ready()
                return await server.fork()
        raise DecoderUnavailable("the service is ending")

    async def close(self) -> None:
        """End the fork server and all its decoders, also while one is being started."""
        self._closed = True
        if self._server is not None:
            await self._server.close()
        async with self._turn:
            if self._server is not None:
                await self._server.close()


class ForkServer:
    """A process that decoders are forked from. Only it can wait for them, and it ends them when it ends in order."""

    def __init__(self, process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
        self._process, self._control = process, control
        self._turn = asyncio.Lock()
        self.has_ended = False

    @classmethod
    async def start(cls) -> "ForkServer":
        """Start the program, which is ready some time later. Raises OSError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                return cls(await asyncio.to_thread(_start_program, theirs), ours)
        except BaseException:
            ours.close()
            raise

    async def ready(self) -> None:
        """Wait until it takes commands. Raises Died."""
        async with self._turn:
            await self._exchange(b"", seconds=START_SECONDS)
            self._watch()

    async def fork(self) -> DecoderProcess:
        """A new decoder. Raises Died, DecoderUnavailable."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                pid = await self._command(COMMAND.pack(FORK, 0), [theirs.fileno()])
            if pid < 0:
                raise DecoderUnavailable(os.strerror(-pid))
            handle = _handle(pid)
            if pid == 0 or self._process.poll() is not None:  # the number may be another's by now
                if handle is not None:
                    os.close(handle)
                self._kill()
                raise Died("it has ended")
        except BaseException:
            ours.close()
            raise
        return DecoderProcess(self, pid, ours, handle)

    def can_signal(self) -> bool:
        """Whether the process ids of its decoders are their own for certain: it has not died without waiting for them."""
        return not self.has_ended and self._process.poll() is None

    async def wait(self, pid: int, handle: int | None) -> int | None:
        """The exit status of a decoder that ends; None when nobody knows."""
        with suppress(Died):
            status = await self._command(COMMAND.pack(WAIT, pid))
            return None if status == NO_STATUS else status
        if handle is None:
            return None
        return await asyncio.to_thread(self._wait_for_orphan, handle)

    def _wait_for_orphan(self, handle: int) -> int | None:
        """Orphans are waited for by process 1, which this process is in a container."""
        self._process.wait()  # until then they are none
        with suppress(OSError):
            if (found := os.waitid(os.P_PIDFD, handle, os.WEXITED)) is not None:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        return None

    async def close(self) -> None:
        """End it, and with it all its decoders."""
        self.has_ended = True
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)  # which ends an exchange that is under way, too
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
                raise Died("it has ended")
            self._unwatch()
            reply = await self._exchange(command, sockets)
            self._watch()
            return reply

    async def _exchange(self, command: bytes, sockets: Sequence[int] = (), seconds: float = 0.0) -> int:
        """Its reply to a command. Without one it is ended: a later reply would be taken for that to the next command."""
        try:
            if command:
                socket.send_fds(self._control, [command], sockets)
            async with asyncio.timeout(seconds or REPLY_SECONDS):
                (reply,) = REPLY.unpack(await receive(self._control, REPLY.size))
        except BaseException as error:
            self._kill()
            if isinstance(error, TimeoutError):
                raise Died(f"it has not answered within {seconds or REPLY_SECONDS:g} seconds") from None
            if isinstance(error, Died | OSError):
                raise Died("it has ended at once" if seconds else "it has ended") from None
            raise
        return int(reply)

    def _watch(self) -> None:
        """Notice its end, so that no zombie is left; it says nothing unless it is asked."""
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
    """A descriptor that means this process and never another with the same number, where there is such a thing."""
    try:
        return os.pidfd_open(pid) if pid > 0 and hasattr(os, "pidfd_open") else None
    except OSError:
        return None


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
    return f"import sys; sys.path[:] = {places!r}; {lone}; from service.formats.decoding.decoder import main; main()"
