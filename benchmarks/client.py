"""`python -m benchmarks.client`: the share of the server's npy throughput that `vae_client` reaches.

The client sends one array of 10,000 pictures. The server's throughput is what wrk measures with the same batches over as many
connections. A third way is the shortest loop of httpx over threads. All take turns, and the table has the medians. It starts
the server, and reads the client from client/.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks import load, report
from benchmarks.load import LoadError, Request
from benchmarks.process import StartError, free_port, running
from benchmarks.service import READY
from benchmarks.workload import DIGITS, MODEL, NPY, ROOT, npy

sys.path.insert(0, str(ROOT / "client"))

import vae_client
from vae_client.batches import BATCH_SIZE

from models.train.flag_types import whole

PICTURES = 10_000


def pictures() -> NDArray[np.uint8]:
    """Return 10,000 digits, uint8 (N, 28, 28)."""
    with np.load(DIGITS) as arrays:
        digits: NDArray[np.uint8] = arrays["images"]
    return np.resize(digits, (PICTURES, *digits.shape[1:]))


def with_client(url: str, digits: NDArray[np.uint8], batch_size: int, concurrency: int) -> float:
    """Return pictures per second of `encode_many`."""
    with vae_client.Client(url, model=MODEL) as client:
        started = time.perf_counter()
        found = client.encode_many(digits, batch_size=batch_size, concurrency=concurrency)
        seconds = time.perf_counter() - started
    assert len(found) == PICTURES
    return PICTURES / seconds


def with_httpx(url: str, bodies: Sequence[bytes], concurrency: int) -> float:
    """Return pictures per second of threads that post the bodies and read nothing of the answers."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    with (
        httpx.Client(base_url=url, timeout=60, limits=limits, trust_env=False) as client,
        ThreadPoolExecutor(concurrency) as pool,
    ):

        def post(body: bytes) -> None:
            client.post("/encode?format=npy", content=body, headers=dict(NPY)).raise_for_status()

        started = time.perf_counter()
        list(pool.map(post, bodies))
        return PICTURES / (time.perf_counter() - started)


def with_wrk(url: str, bodies: Sequence[bytes], batch_size: int, concurrency: int, seconds: int) -> float:
    """Return pictures per second of wrk."""
    full = [Request("POST", "/encode?format=npy", NPY, body) for body in bodies if len(body) == len(bodies[0])]
    result = load.run(url, full, concurrency, seconds)
    if result.errors:
        raise LoadError(f"{result.errors} requests of wrk failed")
    return result.requests_per_second * batch_size


def measure(url: str, options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield a row for each way, with the medians of all rounds."""
    digits, size, concurrency = pictures(), options.batch_size, options.concurrency
    bodies = [npy(digits[start : start + size]) for start in range(0, PICTURES, size)]
    ways: dict[str, Callable[[], float]] = {
        "wrk": lambda: with_wrk(url, bodies, size, concurrency, options.seconds),
        "vae_client": lambda: statistics.median(with_client(url, digits, size, concurrency) for _ in range(options.repeats)),
        "bare httpx": lambda: statistics.median(with_httpx(url, bodies, concurrency) for _ in range(options.repeats)),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        report.progress(f"round {number} of {options.rounds}")
        for name, way in ways.items():
            rate = way()
            if number:  # The first round only warms up.
                found[name].append(rate)
    for name, rates in found.items():
        shares = [rate / peak for rate, peak in zip(rates, found["wrk"], strict=True)]
        cells = report.number(statistics.median(rates)), report.percent(report.spread(rates))
        yield [name, *cells, report.percent(statistics.median(shares))]


COLUMNS = ("client", "pictures/s", "spread", "share of wrk")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Exit status: 1 if the server fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description="Measure the Python client.")
    parser.add_argument("--rounds", type=whole(1, 100), default=5, help="rounds of all clients in turn (default: %(default)s)")
    parser.add_argument("--seconds", type=whole(1, 600), default=2, help="length of a run of wrk (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=whole(1, 100), default=3, help="runs of the other clients in a round (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=whole(1, 4096), default=BATCH_SIZE, help="pictures in a request (default: %(default)s)"
    )
    parser.add_argument("--concurrency", type=whole(1, 1024), default=4, help="requests at once (default: %(default)s)")
    options = parser.parse_args(arguments)
    port = free_port()
    command = [sys.executable, "-m", "service", "--port", str(port)]
    print(report.heading("benchmarks.client"), flush=True)
    try:
        load.require_wrk()
        with running(command, port, READY, {"VAE_MODELS": MODEL, "VAE_ACCESS_LOG": "false"}) as server:
            print(report.table(COLUMNS, measure(server.url, options)))
    except (StartError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
