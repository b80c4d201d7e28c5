"""uvicorn's server, with an end that loses no request: not ready any more, then no new connections, then what was begun.

SIGTERM starts that, SIGINT (Ctrl-C) leaves the first part out, and a second signal ends the process at once. One of several
workers is told by its supervisor instead, see `service.server.supervisor`. Knows nothing of what is served.
"""

import asyncio
import ctypes
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

# between a worker and its supervisor
READY, ALIVE, SICK = b"ready", b"alive", b"sick"
DRAIN, RETIRE, STOP = b"drain", b"retire", b"stop"

# while it ends, whoever keeps a connection is told with each answer to make a new one, which then leads elsewhere
CLOSE = (b"connection", b"close")
# for requests that are on their way when no more connections are accepted; on connections that have had none yet, and whose
# callers may be slow to send their first, the second, but not after Ctrl-C: browsers keep such connections in reserve
QUIET_SECONDS, FRESH_SECONDS = 0.5, 5.0
LEAST_SECONDS = 0.1  # for requests to finish, however long it was quiet before
BEAT_TICKS = 10  # of uvicorn's, a tenth of a second each
SO_ATTACH_FILTER = 26


class Server(uvicorn.Server):
    """A server that drains. `state` is the application's: its `engine` is None before it serves; `draining` is set here."""

    def __init__(self, config: uvicorn.Config, state: Any, drain_seconds: float, is_alive: Callable[[], bool]) -> None:
        super().__init__(config)
        self._state, self._drain_seconds, self._is_alive = state, drain_seconds, is_alive
        self._supervisor: Connection | None = None
        self._sockets: list[socket.socket] = []
        self._is_ending = self._is_retired = False
        self._is_patient = True  # unless somebody at a terminal waits
        self._quiet_until = 0.0  # till when new requests may come on connections of one who is retired
        self._stop_at = math.inf  # when nothing new is accepted any more, in the time of `time.monotonic`

    def run_for(self, supervisor: Connection, sockets: list[socket.socket]) -> None:
        """Serve as one of several workers, until the supervisor says something else or is gone."""
        self._supervisor = supervisor
        os.set_blocking(supervisor.fileno(), False)  # one that does not listen must not keep us
        self.run(sockets)

    def end(self, drain: bool) -> None:
        """Be not ready any more; accept nothing new when that has been so for `drain_seconds`, or at once."""
        self._is_ending = self._state.draining = True
        seconds = self._drain_seconds if drain and self._state.engine is not None else 0.0
        self._stop_at = min(self._stop_at, time.monotonic() + seconds)
        self._is_patient = drain
        self._say_close()

    # What follows is called by uvicorn.

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal. It is not raised again when all is done, as uvicorn would have it: the exit status is 0."""
        if self._is_ending:
            os._exit(128 + sig)
        self.end(drain=sig != signal.SIGINT)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._sockets = sockets or []
        await super().startup(sockets)
        self._tell(READY)

    async def on_tick(self, counter: int) -> bool:
        if await super().on_tick(counter):
            return True
        if self._supervisor is not None:
            self._hear(self._supervisor)
            if counter % BEAT_TICKS == 0:
                self._tell(ALIVE if self._is_alive() else SICK)
        if self._is_ending or self._is_retired:
            self._say_close()  # once a second the headers are made anew
        served = self._is_retired and not self.server_state.connections and time.monotonic() > self._quiet_until
        return served or time.monotonic() >= self._stop_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._say_close()
        allowed, started = self.config.timeout_graceful_shutdown or math.inf, time.monotonic()
        if not self._is_retired:
            await self._refuse_connections()
        self._close_listeners()
        begun = time.monotonic()
        await asyncio.sleep(0.02)  # connections that were accepted last become known
        while time.monotonic() - begun < min(self._quiet_seconds(), allowed):  # noqa: ASYNC110  uvicorn tells nobody
            await asyncio.sleep(0.02)
        if allowed < math.inf:  # what has passed counts
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
        """Have the kernel make no more connections, and accept those that it has made: closing would reset them."""
        descriptors = [sock.fileno() for sock in self._sockets]
        descriptors = descriptors or [sock.fileno() for server in self.servers for sock in server.sockets]
        waiting = select.poll()
        for descriptor in descriptors:
            waiting.register(descriptor, select.POLLIN)
        # the event loop accepts a few a round: many callers of a busy service may be in there
        ignored = [_drop_packets(descriptor) for descriptor in descriptors]
        patience = self.config.timeout_graceful_shutdown if all(ignored) else None
        give_up = time.monotonic() + (patience or QUIET_SECONDS)
        await asyncio.sleep(0)
        while waiting.poll(0) and time.monotonic() < give_up:  # noqa: ASYNC110  nor does the kernel
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
        except (EOFError, OSError):  # it is gone: nobody would end us
            self._supervisor = None
            self.end(drain=False)

    def _retire(self) -> None:
        """Another worker has come in our place: it gets all new connections, we serve those that we have."""
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
    """Let a listening socket ignore all that comes, so that callers try again and then find it closed (Linux, socket(7)).

    False where that cannot be done.

    The classic filter program is one instruction, BPF_RET | BPF_K with 0: keep no byte. Where there is no such thing, those
    who call in the last millisecond find their connection reset.
    """
    if sys.platform != "linux":
        return False
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        return True
    return False
