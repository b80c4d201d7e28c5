"""nginx as deploy/ configures it, and the watcher beside it, before two services of this machine."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.live.server import PATIENCE_SECONDS, ROOT

DEPLOY = ROOT / "deploy"


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Front:
    """The addresses of nginx, and the directory with the marks of replicas that are not ready."""

    url: str
    marks: Path
    process: "subprocess.Popen[bytes]"

    def marked(self) -> set[str]:
        """The replicas that get no requests."""
        return {mark.name for mark in self.marks.iterdir()}

    def poll(self, condition: Callable[[], bool]) -> None:
        """Ask again until it holds."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < give_up, "it has not come to that"
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"nginx ended with {self.process.wait(timeout=0.01)}")


@contextmanager
def front(directory: Path, ports: Sequence[int]) -> Iterator[Front]:
    """nginx and the watcher, with services expected on these two ports; files go into the directory."""
    assert shutil.which("nginx"), "this test needs nginx: apt-get install nginx-light"
    marks, own = directory / "replicas", free_port()
    marks.mkdir()
    changes = {" /tmp/": f" {directory}/", "/run/replicas": str(marks), "listen 8080": f"listen 127.0.0.1:{own}"}
    changes |= {f"replica-{number}:8000": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
    configuration = (DEPLOY / "nginx.conf").read_text()
    for text, other in changes.items():
        assert text in configuration
        configuration = configuration.replace(text, other)
    written = directory / "nginx.conf"
    written.write_text("user root;\n" + configuration)  # root's directories are closed to others; ignored when it is not root
    urls = [f"replica-{number}=http://127.0.0.1:{port}" for number, port in enumerate(ports, 1)]
    watcher = subprocess.Popen([sys.executable, str(DEPLOY / "readiness.py"), str(marks), *urls])
    nginx = subprocess.Popen(["nginx", "-e", "stderr", "-c", str(written), "-g", "daemon off;"])
    try:
        yield Front(f"http://127.0.0.1:{own}", marks, nginx)
        assert watcher.poll() is None
        assert nginx.poll() is None
    finally:
        for process in (nginx, watcher):
            process.terminate()
            process.wait()
    assert not list(marks.iterdir()), "a watcher that ends leaves no marks"
