"""`python -m benchmarks.overload`: what becomes of those who are served when others ask for too much, or leave.

Three tables: a flood of ten times the connections that fill the queue; callers who are killed while they wait; single pictures
beside requests of 2,000. Starts the server itself. Knows nothing of how the service works but `/info`.
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

ROWS = 64
PEAK_CONNECTIONS = 32
FLOOD = 10
CALLERS = 64
MANY = 2000
TIMEOUT_SECONDS = 60


def connection(server: Running) -> http.client.HTTPConnection:
    """A new one."""
    address = urlsplit(server.url)
    return http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_SECONDS)


def ask(caller: http.client.HTTPConnection, request: Request) -> None:
    """Send a request; its answer is read by `getresponse`."""
    caller.request(request.method, request.path, request.body, dict(request.headers))


def counts(server: Running) -> dict[str, int]:
    """Of the lane that decodes."""
    found: dict[str, int] = httpx.get(f"{server.url}/info", trust_env=False).json()["engine"][MODEL]["decode"]
    return found


# --- a flood


def flood(server: Running, seconds: int) -> Iterator[list[str]]:
    """At the peak, far above it, and at once after it."""
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
    """From now to the first good answer to a lone request."""
    started = time.perf_counter()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        while send(client, sample_request(0, "", 1)).status_code != 200:
            pass
    return time.perf_counter() - started


# --- callers who are killed


def killed(server: Running) -> list[str]:
    """Half of the callers leave while all wait; the others' answers must be what they are alone."""
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
    """p99 of single pictures alone, and beside one caller after another with 2,000 of them."""
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
    """Of a full batch, by the service's own clock: the median of some."""
    request = traffic()["encode 64, npy"].requests[0]
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        answers = [send(client, request).raise_for_status() for _ in range(21)]
    times = [float(answer.headers["server-timing"].rpartition("compute;dur=")[2]) for answer in answers]
    return sorted(times)[len(times) // 2]


@contextmanager
def _asking(server: Running, request: Request | None) -> Iterator[None]:
    """For the time of the block somebody sends a request again and again."""
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
    "good answers/s",
    "of the peak",
    "p99 in the queue, ms",
    "bound, ms",
    "429/s",
    "other errors",
    "first answer after, ms",
    "RSS MB",
)
KILLED_COLUMNS = ("callers", "killed", "others with their own bytes", "rows asked for", "rows computed", "rows dropped")
BESIDE_COLUMNS = ("beside 2,000 pictures as", "requests/s", "p50 ms", "p99 ms", "p99 above alone, batches", "errors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Exit status: 1 when the server fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description="The service when it is too much.")
    parser.add_argument("--seconds", type=int, default=10, help="for each measurement (%(default)s)")
    parser.add_argument("--server-args", nargs=argparse.REMAINDER, default=[], help="all that follows goes to the server")
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
