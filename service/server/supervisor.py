"""Supervises several worker processes behind one port: replaces those that die or hang, and all of them in turn on SIGHUP.

Each worker loads its own models and accepts connections only when it is ready, so that every worker that can be reached is
ready. When a new worker is ready, the one that it replaces is told to retire. On SIGTERM all workers drain, on SIGINT they
stop; a second signal kills them. Knows nothing of the application but the function that makes its server; the supervising
process never imports torch.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from uvicorn.importer import import_from_string

from service.server.listeners import describe
from service.server.server import ALIVE, DRAIN, READY, RETIRE, SICK, STOP, Server
from service.server.tuning import leave

log = logging.getLogger(__name__)

SPAWN = get_context("spawn")  # forking a process that has threads is not safe
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TICK_SECONDS = 1.0
# If a worker dies within YOUNG_SECONDS of its start, and others did so before it, it is replaced after a delay, which doubles
# with each of them up to MOST_SECONDS.
YOUNG_SECONDS, MOST_SECONDS = 60.0, 30.0
# Time that a worker gets beyond the time for draining and shutting down, before it is killed.
GRACE_SECONDS = 0.7


@dataclass(eq=False)
class _Worker:
    """One worker process and its state. `told` is the message that told it to end, or empty."""

    pipe: Connection
    process: SpawnProcess
    born: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    told: bytes = b""
    give_up: float = float("inf")

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def tell(self, message: bytes, seconds: float) -> None:
        """Tell the worker to end. It will be killed if that takes longer than `seconds`."""
        self.told, self.give_up = message, time.monotonic() + seconds
        with suppress(OSError):  # the worker has just died
            self.pipe.send_bytes(message)


class Supervisor:
    """Keeps a number of workers running. `make_server` is "module:function", which each of them calls."""

    def __init__(
        self, make_server: str, workers: int, sockets: list[socket.socket], end_seconds: float, heartbeat_seconds: float
    ) -> None:
        """Start nothing yet.

        `end_seconds`: how long a worker may take to end. `heartbeat_seconds`: a worker that sends no heartbeat for so long
        is replaced.
        """
        self._make_server, self._wanted, self._sockets = make_server, workers, sockets
        self._end_seconds, self._heartbeat_seconds = end_seconds + GRACE_SECONDS, heartbeat_seconds
        self._workers: list[_Worker] = []
        self._to_replace: list[_Worker] = []
        self._signals: list[int] = []
        self._is_ending = self._was_ready = False
        self._status = 0
        self._deaths, self._next_start = 0, 0.0  # consecutive deaths of young workers; when the next one may be started

    def run(self) -> int:
        """Run until a signal ends the service. Return the exit status: 1 if no worker could start, otherwise 0."""
        log.info("%d workers, supervised by process %d", self._wanted, os.getpid())
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda received, _: self._signals.append(received))
        self._step()
        before = time.monotonic()
        while self._workers or not self._is_ending:
            wait([reader, *(w.process.sentinel for w in self._workers), *(w.pipe for w in self._workers)], TICK_SECONDS)
            with suppress(BlockingIOError):
                reader.recv(4096, socket.MSG_DONTWAIT)
            now = time.monotonic()
            if now - before > 2 * TICK_SECONDS:  # this process was stopped, so missing heartbeats mean nothing
                for worker in self._workers:
                    worker.heard += now - before
            before = now
            self._step()
        return self._status

    def _step(self) -> None:
        while self._signals:
            self._handle(self._signals.pop(0))
        for worker in list(self._workers):
            self._hear(worker)
        for worker in [worker for worker in self._workers if not worker.process.is_alive()]:
            self._bury(worker)
        for worker in self._workers:
            self._check(worker)
        if not self._is_ending:
            self._replace()

    def _handle(self, number: int) -> None:
        if number == signal.SIGHUP:
            if not self._is_ending:
                log.info("SIGHUP: replacing the workers one after another")
                self._to_replace = [worker for worker in self._workers if not worker.told]
            return
        if self._is_ending:
            for worker in self._workers:
                worker.process.kill()
            os._exit(128 + number)
        log.info("%s: shutting down", signal.Signals(number).name)
        self._end(STOP if number == signal.SIGINT else DRAIN)

    def _end(self, message: bytes) -> None:
        self._is_ending = True
        self._to_replace = []
        for sock in self._sockets:
            sock.close()
        for worker in self._workers:
            if worker.is_ready:
                worker.tell(message, self._end_seconds)
            else:  # it has accepted no connection yet
                worker.told = message
                worker.process.kill()

    def _hear(self, worker: _Worker) -> None:
        with suppress(EOFError, OSError):
            while worker.pipe.poll():
                message = worker.pipe.recv_bytes()
                if message == READY:
                    worker.is_ready = True
                    if not self._was_ready and not self._is_ending:
                        log.info("Running on %s (press Ctrl-C to stop)", describe(self._sockets))
                    self._was_ready = True
                if message in (READY, ALIVE):
                    worker.heard = time.monotonic()
                elif message == SICK and not worker.told:
                    log.error("the device of worker %d is lost or stuck; killing the worker", worker.pid)
                    worker.process.kill()

    def _check(self, worker: _Worker) -> None:
        """Kill a worker that hangs, or does not end in time."""
        now = time.monotonic()
        if worker.told and now > worker.give_up:
            log.error("worker %d did not end in time; killing it", worker.pid)
            worker.process.kill()
        elif worker.is_ready and not worker.told and now - worker.heard > self._heartbeat_seconds:
            log.error("worker %d has sent no heartbeat for %.0f s; killing it", worker.pid, now - worker.heard)
            worker.process.kill()

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        if worker.told:
            return
        status = worker.process.exitcode
        if worker in self._to_replace:
            self._to_replace.remove(worker)
        if not self._was_ready:
            log.error("worker %d could not start (exit status %s); shutting down", worker.pid, status)
            self._status = 1
            self._end(STOP)
            return
        if not worker.is_ready and self._to_replace:
            log.error("the new worker %d could not start (exit status %s); the old workers are kept", worker.pid, status)
            self._to_replace = []
            return
        self._deaths = self._deaths + 1 if time.monotonic() - worker.born < YOUNG_SECONDS else 0
        delay = min(MOST_SECONDS, 2.0 ** (self._deaths - 2)) if self._deaths > 1 else 0.0
        self._next_start = time.monotonic() + delay
        log.error("worker %d died (exit status %s); starting another one", worker.pid, status)

    def _replace(self) -> None:
        """Start missing workers. To replace workers, start one more than wanted; when it is ready, an old one retires."""
        serving = [worker for worker in self._workers if not worker.told]
        if self._to_replace and len(serving) > self._wanted and all(worker.is_ready for worker in serving):
            self._to_replace.pop(0).tell(RETIRE, self._end_seconds)
            return
        missing = self._wanted - len(serving)
        if missing <= 0 and self._to_replace and len(serving) == len(self._workers) == self._wanted:
            missing = 1  # the last retired worker has ended, so that there is never more than one extra worker in memory
        if time.monotonic() >= self._next_start:
            for _ in range(missing):
                self._start()

    def _start(self) -> None:
        ours, theirs = SPAWN.Pipe()
        # Python imports modules of multiprocessing before it gets our sys.path. Until then it must not search the current
        # directory, which may have files of any name.
        os.environ["PYTHONSAFEPATH"] = "1"
        process = SPAWN.Process(target=_work, args=(self._make_server, self._sockets, theirs))
        with _interrupt_blocked():
            process.start()
        theirs.close()
        self._workers.append(_Worker(ours, process))


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """Block SIGINT in processes that are started in the block. A terminal sends it to all; the supervisor tells them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(make_server: str, sockets: list[socket.socket], supervisor: Connection) -> None:
    """Run a worker process."""
    server: Server = import_from_string(make_server)()
    try:
        server.run_for(supervisor, sockets)
    except SystemExit as ended:
        leave(1 if ended.code else 0)
    leave(0)
