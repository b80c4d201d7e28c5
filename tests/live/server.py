"""`python -m service` as a subprocess: started, watched until it is ready, ended. Knows nothing of what is asked of it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.live.fork_server import FORKING, Forked

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "models" / "weights"
LISTENING = re.compile(r"listening on (http://[0-9.]+:\d+)")
# far more than a start or an end takes; only a defect gets there
PATIENCE_SECONDS = 120.0


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of the service, and with those given."""
    own = {name: value for name, value in os.environ.items() if not name.upper().startswith("VAE_")}
    return {**own, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "VAE_LOG_FORMAT": "text", **variables}


def command(*arguments: str) -> list[str]:
    """The command line of a service."""
    return [sys.executable, "-m", "service", *arguments]


def _started(arguments: Sequence[str], variables: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(*arguments), cwd=ROOT, env=variables, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


class Server:
    """A running service. `lines` is its log so far; `url` where it listens.

    It is forked from a process that has imported its modules already. `anew`: it is not, for tests of the start itself, of
    memory, and of several workers.
    """

    def __init__(self, *arguments: str, variables: Mapping[str, str] | None = None, anew: bool = False) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="vae-latents-")
        store = {"VAE_STORE": str(Path(self._directory.name) / "latents.db")}  # unless a test has its own
        arguments = ("--port", "0", "--device", "cpu", "--threads", "1", "--drain-seconds", "0", *arguments)
        started = environment(**{**store, **(variables or {})})
        anew = anew or not FORKING or "--workers" in arguments or "VAE_WORKERS" in started
        self.process = _started(arguments, started) if anew else Forked(arguments, started)
        self.lines: list[str] = []
        self.url = ""
        self._listening = threading.Event()  # set when the address is known, and when the log has ended
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            found = LISTENING.search(line)
            if found:
                self.url = found[1]
                self._listening.set()
        self._listening.set()

    @property
    def log(self) -> str:
        """All that it has said so far."""
        return "\n".join(self.lines)

    def wait_until_listening(self) -> None:
        """Until the log says where it listens."""
        assert self._listening.wait(PATIENCE_SECONDS), f"no address in the log:\n{self.log}"
        assert self.url, f"the service ended:\n{self.log}"

    def wait_until_ready(self) -> None:
        """Until /health/ready says so."""
        self.wait_until_listening()
        with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS) as client:

            def is_ready() -> bool:
                try:
                    return client.get("/health/ready").status_code == 200
                except httpx.ConnectError:  # several workers accept connections when they are ready
                    return False

            self.poll(is_ready)

    def poll(self, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Ask again until the condition holds; at once an error when the process ends or the time is up."""
        give_up = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < give_up, f"it has not come to that:\n{self.log}"
            try:
                self.process.wait(timeout=0.01)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the service ended with {self.process.returncode}:\n{self.log}")

    def info(self) -> dict[str, Any]:
        """Return the answer of /info."""
        return httpx.get(f"{self.url}/info", timeout=PATIENCE_SECONDS).raise_for_status().json()  # type: ignore[no-any-return]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """In the block it stands still: whatever is sent to it waits in the sockets."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            self.poll(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit status, once it has ended and its log is read."""
        status = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self._directory.cleanup()
        return status

    def kill(self) -> None:
        """End it in any case, and its workers, which would hold its log open."""
        if self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.wait()


@contextmanager
def serving(
    *arguments: str, ready: bool = True, variables: Mapping[str, str] | None = None, anew: bool = False
) -> Iterator[Server]:
    """A service that is ready; after the block it must end on SIGTERM with status 0, and have logged no error."""
    server = Server(*arguments, variables=variables, anew=anew)
    try:
        if ready:
            server.wait_until_ready()
        yield server
        if server.process.poll() is None:
            server.terminate()
        assert server.wait() == 0, server.log
        assert "Traceback" not in server.log, server.log
    finally:
        server.kill()
