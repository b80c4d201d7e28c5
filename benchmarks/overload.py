"""`python -m benchmarks.overload`: how the service treats callers while others send too much or disconnect.

It prints three tables: a flood from ten times as many connections as fill the queue; callers who disconnect while they wait;
and single pictures beside requests with 2,000. It starts the server. Of the service it knows only `/info`.
"""

import argparse
import http.client
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import urlsplit

import httpx
import numpy as np

from benchmarks import load, report
from benchmarks.load import LoadError, Request, Result
from benchmarks.process import Running, StartError, free_port, running, send
from benchmarks.service import READY
from benchmarks.workload import (
    DIGITS,
    MODEL,
    NPY,
    encode_request,
    form_request,
    npy,
    png,
    sample_request,
    traffic,
)
from models.train.flag_types import whole

ROWS = 64
PEAK_CONNECTIONS = 32
FLOOD = 10
CALLERS = 64
MANY = 2000
TIMEOUT_SECONDS = 60


def connection(server: Running) -> http.client.HTTPConnection:
    """Return a new connection to the server."""
    address = urlsplit(server.url)
    return http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_SECONDS)


def ask(caller: http.client.HTTPConnection, request: Request) -> None:
    """Send a request; `caller.getresponse` reads the response."""
    caller.request(request.method, request.path, request.body, dict(request.headers))


def counts(server: Running) -> dict[str, int]:
    """Return the counters of the queue for decoding."""
    found: dict[str, int] = httpx.get(f"{server.url}/info", trust_env=False).json()["engine"][MODEL]["decode"]
    return found


# --- a flood


def flood(server: Running, seconds: int) -> Iterator[list[str]]:
    """Measure at the peak load, far above it, and at the peak again right after that."""
    requests = [sample_request(seed, "?format=npy", ROWS) for seed in range(ROWS)]
    queue_rows: int = httpx.get(f"{server.url}/info", trust_env=False).json()["limits"]["max_queue_rows"]
    load.run(server.url, requests, PEAK_CONNECTIONS, 1)
    peak = 0.0
    for connections in (PEAK_CONNECTIONS, FLOOD * queue_rows // ROWS, PEAK_CONNECTIONS):
        result = load.run(server.url, requests, connections, seconds)
        after = _seconds_of_one(server)
        peak = peak or result.requests_per_second
        refused = result.statuses.get("429", 0) / seconds
        others = result.errors - result.statuses.get("429", 0)
        yield [
            str(connections),
            report.number(result.requests_per_second),
            report.percent(result.requests_per_second / peak),
            report.number(result.queue_p99_ms),
            report.number(1e3 * queue_rows / ROWS / peak),
            report.number(refused),
            str(others),
            report.number(1e3 * after),
            report.number(server.memory().rss),
        ]


def _seconds_of_one(server: Running) -> float:
    """Return the seconds from now to the first 200 response, sending one request at a time."""
    started = time.perf_counter()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        while send(client, sample_request(0, "", 1)).status_code != 200:
            pass
    return time.perf_counter() - started


# --- callers who are killed


def killed(server: Running) -> list[str]:
    """Disconnect half of the callers while all wait. The others must get the same bytes as when they are alone."""
    requests = [sample_request(seed, "?format=npy", ROWS) for seed in range(CALLERS)]
    with closing(connection(server)) as caller:
        alone = [_answer(caller, request) for request in requests]
    before = counts(server)
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(connection(server))) for _ in requests]
        for caller in callers:
            caller.connect()
        for caller, request in zip(callers, requests, strict=True):
            ask(caller, request)
        for caller in callers[::2]:
            caller.close()
        answers = [caller.getresponse() for caller in callers[1::2]]
        same = sum(answer.read() == wanted for answer, wanted in zip(answers, alone[1::2], strict=True))
    while (after := counts(server))["queued_rows"]:
        pass
    return [
        str(CALLERS),
        str(CALLERS // 2),
        f"{same} of {CALLERS // 2}",
        str(CALLERS * ROWS),
        str(after["rows"] - before["rows"]),
        str(after["dropped_rows"] - before["dropped_rows"]),
    ]


def _answer(caller: http.client.HTTPConnection, request: Request) -> bytes:
    ask(caller, request)
    return caller.getresponse().read()


# --- beside huge requests


def beside(server: Running, seconds: int) -> Iterator[list[str]]:
    """Measure single pictures alone, and beside a caller with 2,000 pictures per request, in three formats."""
    with np.load(DIGITS) as archive:
        digits = archive["images"][..., None]
    many = digits[np.arange(MANY) % len(digits)]
    pngs = [png(digit) for digit in many]
    neighbours: dict[str, Request | None] = {
        "none": None,
        "npy": Request("POST", "/encode?format=npy", NPY, npy(many)),
        "JSON": encode_request(pngs),
        "form": form_request(pngs),
    }
    singles = traffic()["encode 1, JSON"].requests
    batch_ms = _batch_milliseconds(server)
    alone: Result | None = None
    for name, request in neighbours.items():
        with _asking(server, request):
            result = load.run(server.url, singles, 1, seconds)
        alone = alone or result
        yield [
            name,
            report.number(result.requests_per_second),
            report.number(result.p50_ms),
            report.number(result.p99_ms),
            report.number((result.p99_ms - alone.p99_ms) / batch_ms),
            str(result.errors),
        ]


def _batch_milliseconds(server: Running) -> float:
    """Return the median time of a full batch, according to the service's Server-Timing."""
    request = traffic()["encode 64, npy"].requests[0]
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        answers = [send(client, request).raise_for_status() for _ in range(21)]
    times = [float(answer.headers["server-timing"].rpartition("compute;dur=")[2]) for answer in answers]
    return sorted(times)[len(times) // 2]


@contextmanager
def _asking(server: Running, request: Request | None) -> Iterator[None]:
    """Send a request again and again during the `with` block."""
    done = threading.Event()

    def go() -> None:
        with closing(connection(server)) as caller:
            while request is not None and not done.is_set():
                ask(caller, request)
                answer = caller.getresponse()
                answer.read()
                if answer.status != 200:
                    raise LoadError(f"a request of {MANY} pictures was answered with {answer.status}")

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(go)
        try:
            yield
        finally:
            done.set()
        asking.result()


FLOOD_COLUMNS = (
    "connections",
    "good responses/s",
    "share of peak",
    "p99 in queue, ms",
    "full queue, ms",
    "429/s",
    "other errors",
    "then first response, ms",
    "RSS MB",
)
KILLED_COLUMNS = ("callers", "disconnected", "others with equal bytes", "rows requested", "rows computed", "rows dropped")
BESIDE_COLUMNS = ("beside 2,000 pictures as", "requests/s", "p50 ms", "p99 ms", "p99 above alone, batches", "errors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Exit status: 1 if the server fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description="Measure the service under overload.")
    parser.add_argument("--seconds", type=whole(1, 600), default=10, help="length of each measurement (default: %(default)s)")
    parser.add_argument(
        "--server-args", nargs=argparse.REMAINDER, default=[], help="pass all following arguments to the server"
    )
    options = parser.parse_args(arguments)
    port = free_port()
    command = [sys.executable, "-m", "service", "--port", str(port), *options.server_args]
    print(report.heading("benchmarks.overload"), flush=True)
    try:
        load.require_wrk()
        with running(command, port, READY, {"VAE_MODELS": MODEL, "VAE_ACCESS_LOG": "false"}) as server:
            print(report.table(FLOOD_COLUMNS, flood(server, options.seconds)), end="\n\n", flush=True)
            print(report.table(KILLED_COLUMNS, [killed(server)]), end="\n\n", flush=True)
            print(report.table(BESIDE_COLUMNS, beside(server, options.seconds)))
    except (StartError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
