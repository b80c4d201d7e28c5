"""The watcher that tells nginx which replicas are ready."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .front import DEPLOY, Front, free_port

# with less time to answer, so that silence is noticed soon
IMPATIENT = "import readiness; readiness.TIMEOUT_SECONDS = 0.5; readiness.main()"


class Replica(ThreadingHTTPServer):
    """Answers /health/ready with `status`; with 0 not at all."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Health)
        self.status = 503
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Health(BaseHTTPRequestHandler):
    server: Replica

    def do_GET(self) -> None:
        assert self.path == "/health/ready"
        if not self.server.status:
            self.server.released.wait()
            return
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def replicas() -> Iterator[list[Replica]]:
    both = [Replica(), Replica()]
    yield both
    for replica in both:
        replica.released.set()
        replica.shutdown()
        replica.server_close()


def test_marks_follow_readiness(replicas: list[Replica], tmp_path: Path) -> None:
    one, two = replicas
    command = [sys.executable, "-B", "-c", IMPATIENT, str(tmp_path)]
    arguments = [f"one={one.url}", f"two={two.url}", f"nobody=http://127.0.0.1:{free_port()}"]
    watcher = subprocess.Popen(command + arguments, cwd=DEPLOY)
    marks = Front("", tmp_path, watcher)
    try:
        marks.poll(lambda: marks.marked() == {"one", "two", "nobody"})
        one.status = 200
        marks.poll(lambda: marks.marked() == {"two", "nobody"})
        two.status = 200
        marks.poll(lambda: marks.marked() == {"nobody"})
        one.status = 0  # silent, while the other one can take its requests
        marks.poll(lambda: marks.marked() == {"one", "nobody"})
        two.status = 503  # now a silent one is better than none
        marks.poll(lambda: marks.marked() == {"two", "nobody"})
        one.released.set()
        one.status = two.status = 200
        marks.poll(lambda: marks.marked() == {"nobody"})
    finally:
        watcher.terminate()
        assert watcher.wait() == 0
    assert not list(tmp_path.iterdir()), "without a watcher all get requests"
