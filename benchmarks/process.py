"""Start a server as a child process, wait until it responds, measure its memory, and stop it."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import httpx
import psutil

from benchmarks.load import Request
from benchmarks.workload import ROOT

START_SECONDS, END_SECONDS = 120.0, 20.0
POLL_SECONDS = 0.02
LAST_LINES = 12


class StartError(Exception):
    """The server did not start."""


@dataclass(frozen=True)
class Memory:
    """Memory of a process and all its children, in MB; `pss` counts a page that several of them share only once."""

    rss: float
    pss: float


@dataclass(frozen=True)
class CpuTime:
    """CPU seconds of a process and all its children; `system` is what the operating system took for them."""

    user: float
    system: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.user + self.system


@dataclass(frozen=True)
class Running:
    """A running server."""

    url: str
    pid: int
    start_seconds: float  # from the start of the process to the first 200 response

    def memory(self) -> Memory:
        """Return the current memory."""
        rss = pss = 0
        for process in _tree(self.pid):
            try:
                used = process.memory_full_info()
            except psutil.Error:  # The process has just ended.
                continue
            rss, pss = rss + used.rss, pss + used.pss
        return Memory(rss / 1e6, pss / 1e6)

    def cpu(self) -> CpuTime:
        """Return the CPU time of all its processes so far."""
        user = system = 0.0
        for process in _tree(self.pid):
            with suppress(psutil.Error):  # The process has just ended; its time is counted for its parent.
                times = process.cpu_times()
                user, system = user + times.user + times.children_user, system + times.system + times.children_system
        return CpuTime(user, system)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**variables: str) -> dict[str, str]:
    """Return this environment without VAE_* settings, with one thread per library and the given variables."""
    own = {name: value for name, value in os.environ.items() if not name.upper().startswith("VAE_")}
    return {**own, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}


@contextmanager
def running(command: Sequence[str], port: int, first: Request, variables: Mapping[str, str]) -> Iterator[Running]:
    """Run the server during the `with` block, which starts when `first` gets a 200. Raises StartError."""
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(**variables), stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            with httpx.Client(base_url=url, timeout=END_SECONDS, trust_env=False) as client:
                while not _answers(client, first):
                    if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                        log.seek(0)
                        lines = log.read().decode("utf-8", "replace").strip().splitlines()
                        raise StartError("\n".join(["it did not start:", *lines[-LAST_LINES:]]))
                    time.sleep(POLL_SECONDS)
                start_seconds = time.perf_counter() - started
            yield Running(url, process.pid, start_seconds)
        finally:
            _end(process)


def send(client: httpx.Client, request: Request) -> httpx.Response:
    """Send one request."""
    return client.request(request.method, request.path, headers=dict(request.headers), content=request.body)


def _answers(client: httpx.Client, request: Request) -> bool:
    try:
        return send(client, request).status_code == 200
    except httpx.TransportError:
        return False


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the server, and kill remaining children after a while."""
    family = _tree(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, END_SECONDS)
    for left in alive:
        left.kill()
    process.wait()
