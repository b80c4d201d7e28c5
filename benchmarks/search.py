"""`python -m benchmarks.search`: nearest neighbours of pictures, compared with encoding the same pictures alone.

A search encodes its picture, then computes the distance to every item of a collection. The items are random latents. Both
kinds of requests take turns on one server, and ratios are taken within a round. benchmarks.exact_search measures without HTTP.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import httpx
import numpy as np

from benchmarks import bystanders, load, report
from benchmarks.bystanders import Bystanders
from benchmarks.load import LoadError, Request, Result
from benchmarks.process import Running, StartError, free_port, running
from benchmarks.service import READY
from benchmarks.workload import LATENT_DIM, MODEL, NPY, npy, traffic
from models.train.flag_types import whole

COLLECTION = "/collections/bench"
ITEMS_A_REQUEST = 4096
FILL_SECONDS, WARM_UP_SECONDS = 60, 1
ENCODE, SEARCH = "encode 1, PNG", "search by PNG"
COLUMNS = (
    "requests",
    "connections",
    "requests/s",
    "spread",
    "ratio to encode",
    "p50 ms",
    "p99 ms",
    "CPU µs a request",
    "errors",
)


@dataclass(frozen=True)
class Sample:
    """One measurement."""

    result: Result
    cpu: float  # seconds of CPU time per request
    others: float  # cores used by other processes


def fill(url: str, items: int) -> None:
    """Make the collection and add random latents. Raises HTTPError."""
    latents = np.random.default_rng(0).standard_normal((items, LATENT_DIM), np.float32)
    with httpx.Client(base_url=url, timeout=FILL_SECONDS, trust_env=False) as client:
        client.put(COLLECTION, json={"model": MODEL}).raise_for_status()
        for start in range(0, items, ITEMS_A_REQUEST):
            body = npy(latents[start : start + ITEMS_A_REQUEST])
            client.post(f"{COLLECTION}/items", content=body, headers=NPY).raise_for_status()


def measure(server: Running, requests: Sequence[Request], connections: int, seconds: int) -> Sample:
    """Measure once. Raises LoadError."""
    load.run(server.url, requests, connections, WARM_UP_SECONDS)
    others, before = Bystanders(server.pid), server.cpu()
    result = load.run(server.url, requests, connections, seconds)
    return Sample(result, (server.cpu().total - before.total) / max(1, result.requests), others.cores())


def measure_all(options: argparse.Namespace) -> dict[tuple[str, int], list[Sample]]:
    """Return the samples of each round, by requests and connections. Raises StartError, LoadError, HTTPError."""
    encode = traffic()[ENCODE].requests
    path = f"{COLLECTION}/search?metric={options.metric}&k={options.k}"
    requests = {ENCODE: encode, SEARCH: tuple(replace(one, path=path) for one in encode)}
    found: dict[tuple[str, int], list[Sample]] = {(name, n): [] for n in options.connections for name in requests}
    with tempfile.TemporaryDirectory() as home:
        port = free_port()
        command = [sys.executable, "-m", "service", "--port", str(port), "--models", MODEL, "--store", f"{home}/latents.db"]
        with running(command, port, READY, {"VAE_ACCESS_LOG": "false", "VAE_DEVICE": "cpu"}) as server:
            report.progress(f"adding {options.items} items")
            fill(server.url, options.items)
            for turn in range(1, options.rounds + 1):
                for (name, connections), samples in found.items():
                    samples.append(measure(server, requests[name], connections, options.seconds))
                    rate = samples[-1].result.requests_per_second
                    report.progress(f"round {turn}, {name}, {connections} connections: {rate:.0f} requests/s")
    return found


def rows(samples: Mapping[tuple[str, int], Sequence[Sample]]) -> Iterator[list[str]]:
    """Yield a line for each kind of request and number of connections; the ratio is the median of the rounds' ratios."""
    for (name, connections), runs in samples.items():
        rates = [run.result.requests_per_second for run in runs]
        encode = [run.result.requests_per_second for run in samples[ENCODE, connections]]
        yield [
            name,
            str(connections),
            report.number(report.median(rates)),
            report.percent(report.spread(rates)),
            report.number(report.median(mine / other for mine, other in zip(rates, encode, strict=True))),
            report.number(report.median(run.result.p50_ms for run in runs)),
            report.number(report.median(run.result.p99_ms for run in runs)),
            report.number(report.median(1e6 * run.cpu for run in runs)),
            report.errors(
                pair for run in runs for pair in (("socket", run.result.socket_errors), *run.result.statuses.items())
            ),
        ]


def main() -> int:
    """Measure and print. Exit status: 1 if the service fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description="Measure search by picture.")
    parser.add_argument(
        "--rounds", type=whole(1, 100), default=3, help="measurements of each line, interleaved (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=whole(1, 600), default=3, help="length of each measurement (default: %(default)s)")
    parser.add_argument(
        "--connections", type=whole(1, 1024), nargs="+", default=[16, 64], help="connections of the client (default: 16 64)"
    )
    parser.add_argument(
        "--items", type=whole(1, 100_000_000), default=100_000, help="items of the collection (default: %(default)s)"
    )
    parser.add_argument("--metric", default="l2", help="metric of the search (default: %(default)s)")
    parser.add_argument("--k", type=whole(1, 1000), default=10, help="neighbours of each picture (default: %(default)s)")
    options = parser.parse_args()
    print(report.heading("benchmarks.search"), flush=True)
    try:
        load.require_wrk()
        samples = measure_all(options)
    except (StartError, LoadError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.table(COLUMNS, rows(samples)), end="\n\n")
    print(bystanders.remark([sample.others for runs in samples.values() for sample in runs]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
