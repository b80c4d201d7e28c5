"""HTTP load with wrk: prepared requests in turn over N connections; each waits for its response before the next request.

Knows nothing of the service or of the requests. wrk corrects latencies for coordinated omission: a response that takes more
than twice the mean interval also counts for the requests that it delayed.
"""

import json
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")
# A response that takes longer counts as a socket error.
TIMEOUT_SECONDS = 10


class LoadError(Exception):
    """wrk is missing or failed."""


@dataclass(frozen=True)
class Request:
    """One HTTP request; `path` includes the query."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Result:
    """The result of one run of wrk. `requests_per_second` counts 2xx responses; the percentiles count all responses."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    queue_p99_ms: float  # of 2xx responses, from their Server-Timing; 0 if it is missing
    socket_errors: int
    statuses: Mapping[str, int]  # other responses, by status
    client_cpu: float  # CPU seconds of wrk per second of the run
    requests: int  # all responses

    @property
    def errors(self) -> int:
        """The number of requests without a 2xx response."""
        return self.socket_errors + sum(self.statuses.values())


def require_wrk() -> str:
    """Return the path of wrk. Raises LoadError."""
    path = shutil.which("wrk")
    if path is None:
        raise LoadError("wrk, the load generator, is not installed; on Debian and Ubuntu: apt-get install wrk")
    return path


def run(url: str, requests: Sequence[Request], connections: int, seconds: int) -> Result:
    """Send requests to `url` for so many seconds, from one thread. Raises LoadError."""
    wrk = require_wrk()
    with tempfile.TemporaryDirectory() as directory:
        for number, request in enumerate(requests, 1):
            _write(Path(directory), number, request)
        command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s", f"--script={SCRIPT}"]
        before = _children_cpu()
        done = subprocess.run([*command, url, "--", directory], capture_output=True, text=True, check=False)
        cpu = _children_cpu() - before
    line = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
    if done.returncode or line is None:
        raise LoadError(f"wrk failed with status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    seen = json.loads(line)
    good = seen["requests"] - sum(seen["statuses"].values())
    return Result(
        requests_per_second=good / seen["seconds"],
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
        queue_p99_ms=seen["queue_p99_ms"],
        socket_errors=seen["socket_errors"],
        statuses=seen["statuses"],
        client_cpu=cpu / seen["seconds"],
        requests=seen["requests"],
    )


def _write(directory: Path, number: int, request: Request) -> None:
    headers = "".join(f"{name}: {value}\n" for name, value in request.headers.items())
    (directory / f"{number}.head").write_text(f"{request.method} {request.path}\n{headers}")
    if request.body:
        (directory / f"{number}.body").write_bytes(request.body)


def _children_cpu() -> float:
    """Return the CPU seconds of ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
