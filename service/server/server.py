"""uvicorn's server with connection draining: it becomes unready, then accepts no new connections, then finishes its requests.

SIGTERM starts this; SIGINT (Ctrl-C) skips the first step; a second signal ends the process at once. If there are several
workers, their supervisor sends them messages instead, see `service.server.supervisor`. Knows nothing of what is served.
"""

import asyncio
import ctypes
import logging
import math
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import uvicorn

from service.server.listeners import SocketFiles, describe

log = logging.getLogger(__name__)

# Messages of a worker to its supervisor, and of the supervisor to a worker.
READY, ALIVE, SICK = b"ready", b"alive", b"sick"
DRAIN, RETIRE, STOP = b"drain", b"retire", b"stop"

# While the server shuts down, each answer has this header, so that callers open a new connection, which leads elsewhere.
CLOSE = (b"connection", b"close")
# After the port closes: wait 0.5 s for requests in flight, and 5 s for connections that have not sent one yet. The latter
# not after Ctrl-C, since browsers keep unused connections open.
QUIET_SECONDS, FRESH_SECONDS = 0.5, 5.0
LEAST_SECONDS = 0.1  # minimum time for requests to finish, after the waiting above
BEAT_TICKS = 10  # heartbeat interval in uvicorn's ticks, which are 0.1 s each
SO_ATTACH_FILTER = 26


class Server(uvicorn.Server):
    """A server that drains its connections before it ends.

    `state` is the application's state: its `service` is None until the models are loaded; the server sets `draining`.
    """

    def __init__(self, config: uvicorn.Config, state: Any, drain_seconds: float, is_alive: Callable[[], bool]) -> None:
        super().__init__(config)
        self._state, self._drain_seconds, self._is_alive = state, drain_seconds, is_alive
        self._supervisor: Connection | None = None
        self._sockets: list[socket.socket] = []
        self._files = SocketFiles([])
        self._is_ending = self._is_retired = self._is_announced = False
        self._is_patient = True  # False after Ctrl-C, when somebody at a terminal waits
        self._quiet_until = 0.0  # until then a retired worker waits for new requests on its connections
        self._stop_at = math.inf  # when to stop accepting connections, in the time of `time.monotonic`

    def run_for(self, supervisor: Connection, sockets: list[socket.socket]) -> None:
        """Serve as one of several workers, until the supervisor sends a message or has ended."""
        self._supervisor = supervisor
        os.set_blocking(supervisor.fileno(), False)  # a supervisor that does not read must not block the worker
        self.run(sockets)

    def end(self, drain: bool) -> None:
        """Become unready, then stop: after `drain_seconds` if `drain` is true, otherwise at once."""
        self._is_ending = self._state.draining = True
        seconds = self._drain_seconds if drain and self._state.service is not None else 0.0
        self._stop_at = min(self._stop_at, time.monotonic() + seconds)
        self._is_patient = drain
        self._say_close()

    # uvicorn calls the methods below.

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal. Unlike in uvicorn, the signal is not raised again in the end, so that the exit status is 0."""
        if self._is_ending:
            os._exit(128 + sig)
        self.end(drain=sig != signal.SIGINT)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._sockets = sockets or []
        self._files = SocketFiles(self._sockets)
        addresses = describe(self._sockets)
        try:
            await super().startup(sockets)
            is_listening = all(sock.fileno() >= 0 for sock in self._sockets)  # uvloop only closes a socket that cannot listen
        except OSError:
            is_listening = False
        if not is_listening:  # after we had bound the port, another process began to listen on it
            log.error("cannot listen on %s: another process listens there", addresses)
            sys.exit(1)
        if self._supervisor is None and self._sockets:
            log.info("listening on %s; the models are being loaded", addresses)
        self._tell(READY)

    async def on_tick(self, counter: int) -> bool:
        if await super().on_tick(counter):
            return True
        if not self._is_announced and self._state.service is not None:
            self._announce()
        if self._supervisor is not None:
            self._hear(self._supervisor)
            if counter % BEAT_TICKS == 0:
                self._tell(ALIVE if self._is_alive() else SICK)
        if self._is_ending or self._is_retired:
            self._say_close()  # uvicorn makes the default headers anew once a second
        served = self._is_retired and not self.server_state.connections and time.monotonic() > self._quiet_until
        return served or time.monotonic() >= self._stop_at

    def _announce(self) -> None:
        """Log that the service is ready, and where. The supervisor of several workers does that for all of them."""
        self._is_announced = True
        if self._supervisor is None:
            log.info("Running on %s (press Ctrl-C to stop)", describe(self._listening()))

    def _listening(self) -> list[socket.socket]:
        return self._sockets or [sock for server in self.servers for sock in server.sockets]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._say_close()
        allowed, started = self.config.timeout_graceful_shutdown or math.inf, time.monotonic()
        if not self._is_retired:
            await self._refuse_connections()
        self._close_listeners()
        begun = time.monotonic()
        await asyncio.sleep(0.02)  # until then, uvicorn does not know the connections that were accepted last
        while time.monotonic() - begun < min(self._quiet_seconds(), allowed):  # noqa: ASYNC110  uvicorn has no event
            await asyncio.sleep(0.02)
        if allowed < math.inf:  # subtract the time that has passed
            left = max(LEAST_SECONDS, allowed - (time.monotonic() - started))
            self.config.timeout_graceful_shutdown = left  # type: ignore[assignment]
        await super().shutdown(sockets)

    def _quiet_seconds(self) -> float:
        connections = self.server_state.connections
        if self._is_patient and any(getattr(connection, "cycle", connection) is None for connection in connections):
            return FRESH_SECONDS
        return QUIET_SECONDS if connections else 0.0

    def _say_close(self) -> None:
        if CLOSE not in self.server_state.default_headers:
            self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]

    async def _refuse_connections(self) -> None:
        """Make the kernel ignore new connections, and accept those that wait in its queue: closing would reset them."""
        descriptors = [sock.fileno() for sock in self._listening()]
        waiting = select.poll()
        for descriptor in descriptors:
            waiting.register(descriptor, select.POLLIN)
        # The event loop accepts only a few connections per iteration, and many may wait in the queue of a busy service.
        ignored = [_drop_packets(descriptor) for descriptor in descriptors]
        self._files.remove()
        patience = self.config.timeout_graceful_shutdown if all(ignored) else None
        give_up = time.monotonic() + (patience or QUIET_SECONDS)
        await asyncio.sleep(0)
        while waiting.poll(0) and time.monotonic() < give_up:  # noqa: ASYNC110  the kernel has no event for an empty queue
            await asyncio.sleep(0.001)

    def _close_listeners(self) -> None:
        for server in self.servers:
            server.close()
        for sock in self._sockets:
            sock.close()

    def _hear(self, supervisor: Connection) -> None:
        try:
            while supervisor.poll():
                message = supervisor.recv_bytes()
                if message == RETIRE and not self._is_ending:
                    self._retire()
                elif message in (DRAIN, STOP):
                    self.end(drain=message == DRAIN)
        except BlockingIOError:
            pass
        except (EOFError, OSError):  # the supervisor has ended, so nobody else would end this worker
            self._supervisor = None
            self.end(drain=False)

    def _retire(self) -> None:
        """Serve only the existing connections, because a new worker has taken this one's place."""
        self._is_retired = True
        self._close_listeners()
        self._say_close()
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        self._stop_at = time.monotonic() + max(self._drain_seconds, QUIET_SECONDS)

    def _tell(self, message: bytes) -> None:
        if self._supervisor is not None:
            with suppress(OSError):
                self._supervisor.send_bytes(message)


def _drop_packets(descriptor: int) -> bool:
    """Make a listening socket ignore all new connections. Return False if the system cannot do that.

    A program for the kernel's packet filter (Linux, socket(7), SO_ATTACH_FILTER) drops every packet for the socket. It is one
    instruction: BPF_RET | BPF_K with 0, keep no byte. Connections that exist already are not affected.

    There is no simpler way. Closing a listening socket resets the connections in its queue, and the kernel adds to the queue
    as long as the socket listens, so that under load it is never empty. With the filter, a new caller's SYN gets no answer;
    the caller sends it again a second later, finds the port closed, and can try elsewhere. Without the filter, the soak of
    tests/live/test_end.py (SIGTERM under the load of 64 callers) fails: 58 requests are lost, because their connections are
    reset.
    """
    if sys.platform != "linux":
        return False
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as listener:
        if listener.family == socket.AF_UNIX:
            return True  # no packets: removing the file has the same effect
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        return True
    return False
