"""Starts `python -m service`, or training, in processes forked from one that has imported it, which takes most of a start.

What runs in them is the same program from its first line on. Only imports are spared: nothing has read a setting, opened a
file or started a thread before the fork. Tests of the start itself, of memory and of several workers start real programs.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
FORKING = sys.platform == "linux"
IMPORTED = {
    "service": ("service.app", "service.server.forwarded_headers", "service.server.server"),
    "models.train": ("models.train.run",),
}
MOST_BYTES = 1 << 17  # of a request: arguments and environment
REAPER_FAILED = 255


class Forked:
    """A process of the fork server, with the methods of subprocess.Popen that tests need. `stderr` is what it logs."""

    def __init__(
        self, arguments: Sequence[str], environment: dict[str, str], module: str = "service", directory: Path = ROOT
    ) -> None:
        self.module = module
        self.returncode: int | None = None
        self._status, theirs = _socket_pair()
        reader, writer = os.pipe()
        with open(os.devnull, "wb") as nothing, theirs:
            request: dict[str, Any] = {"module": module, "arguments": arguments, "environment": environment}
            request["directory"] = str(directory.resolve())
            socket.send_fds(_fork_server(module), [json.dumps(request).encode()], [theirs.fileno(), nothing.fileno(), writer])
        os.close(writer)
        self.stderr: IO[str] = os.fdopen(reader)
        self.pid = int(self._receive(None) or "0")
        assert self.pid, "the fork server has ended"

    def _receive(self, timeout: float | None) -> str:
        self._status.settimeout(timeout)
        return self._status.recv(16).decode()

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once it has ended. Raise subprocess.TimeoutExpired."""
        if self.returncode is None:
            readable, _, _ = select.select([self._status], [], [], timeout)
            if not readable:
                raise subprocess.TimeoutExpired(self.module, timeout or 0.0)
            self.returncode = int(self._receive(None) or REAPER_FAILED)
            self._status.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    """Make two connected sockets that keep messages apart, however late they are read."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@cache
def _fork_server(module: str) -> socket.socket:
    """Start a fork server for this process, with which it ends. Return the socket that takes requests."""
    ours, theirs = _socket_pair()
    with theirs:
        variables = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONUNBUFFERED"), "1")}
        command = [sys.executable, "-m", "tests.live.fork_server", module, str(theirs.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, env=variables, pass_fds=[theirs.fileno()])

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours


def _run(module: str, arguments: Sequence[str], environment: dict[str, str], directory: str) -> NoReturn:
    """Become `python -m module` in that directory."""
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    status = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(status)


def _fork(request: bytes, descriptors: Sequence[int]) -> NoReturn:
    """Fork the program, tell its process id and its exit status to the socket in `descriptors`, and end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told, *outputs = descriptors
    status = socket.socket(fileno=told)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, descriptor in enumerate(outputs, 1):
            os.dup2(descriptor, number)
        os.closerange(3, max(descriptors) + 1)
        _run(**json.loads(request))
    os.closerange(0, 3)
    for descriptor in outputs:
        os.close(descriptor)
    status.send(str(child).encode())
    _, ended = os.waitpid(child, 0)
    with suppress(OSError):  # the tests have ended
        status.send(str(os.waitstatus_to_exitcode(ended)).encode())
    os._exit(0)


def serve(module: str, requests: socket.socket) -> None:
    """Fork the program for each request, until the tests end."""
    for name in IMPORTED[module]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that collections in the forked processes do not copy all pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for the processes between this one and the services.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal sends it to all.
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, MOST_BYTES, 3)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            _fork(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
