"""`python -m benchmarks.ray_serve`: what Ray Serve costs, compared with workers of one service.

The same requests go to a service with one and with two workers, and to Ray Serve with two replicas: through its proxy in
Python, and through HAProxy. All run at the same time and are measured in turn, and ratios are taken within a round.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from benchmarks import bystanders, load, report
from benchmarks.load import LoadError, Request
from benchmarks.process import Running, StartError, free_port, running
from benchmarks.search import Sample, measure
from benchmarks.service import READY
from benchmarks.workload import MODEL, sample_request, traffic
from models.train.flag_types import whole

SETTINGS = {"VAE_ACCESS_LOG": "false", "VAE_DEVICE": "cpu", "VAE_MODELS": MODEL, "VAE_THREADS": "1"}
HAPROXY = ("RAY_SERVE_ENABLE_HA_PROXY=1", "RAY_SERVE_ENABLE_DIRECT_INGRESS=1")
ONE_WORKER = "service, 1 worker"
COLUMNS = (
    "requests",
    "connections",
    "server",
    "requests/s",
    "ratio to 1 worker",
    "p50 ms",
    "p99 ms",
    "CPU µs a request",
    "errors",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Exit status: 1 if a server fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_serve", description="Compare Ray Serve with workers.")
    parser.add_argument("--rounds", type=whole(1, 100), default=3, help="measurements of each line (default: %(default)s)")
    parser.add_argument("--seconds", type=whole(1, 60), default=3, help="length of each measurement (default: %(default)s)")
    parser.add_argument("--connections", type=whole(1, 1024), default=16, help="of the client (default: %(default)s)")
    options = parser.parse_args(argv)
    print(report.heading("benchmarks.ray_serve"), flush=True)
    try:
        load.require_wrk()
        with ExitStack() as stack:
            servers = {name: stack.enter_context(running(*start)) for name, start in starts()}
            samples = measure_all(servers, options)
    except (StartError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.table(COLUMNS, rows(samples, options.connections)), end="\n\n")
    print(bystanders.remark([sample.others for runs in samples.values() for sample in runs]))
    return 0


def starts() -> Iterator[tuple[str, tuple[list[str], int, Request, Mapping[str, str]]]]:
    """Yield the name of each server, and how it is started."""
    for workers in (1, 2):
        port = free_port()
        command = [sys.executable, "-m", "service", "--port", str(port), "--workers", str(workers)]
        yield (f"service, {workers} workers" if workers > 1 else ONE_WORKER), (command, port, READY, SETTINGS)
    for name, variables in (("Ray Serve, its proxy", ()), ("Ray Serve, HAProxy", HAPROXY)):
        port = free_port()
        command = [sys.executable, "-m", "examples.ray.two_nodes", "--nodes", "1", "--replicas", "2", "--most-replicas", "2"]
        flags = [flag for variable in variables for flag in ("--variable", variable)]
        yield name, ([*command, "--port", str(port), *flags], port, READY, SETTINGS)


def measure_all(servers: Mapping[str, Running], options: argparse.Namespace) -> dict[tuple[str, str], list[Sample]]:
    """Return the samples of each round, by requests and server. Raises LoadError."""
    samples = tuple(sample_request(seed, "?format=npy", 64) for seed in range(64))
    requests = {"encode 1, JSON": traffic()["encode 1, JSON"].requests, "sample 64, npy": samples}
    found: dict[tuple[str, str], list[Sample]] = {(name, server): [] for name in requests for server in servers}
    for turn in range(1, options.rounds + 1):
        for (name, server), runs in found.items():
            runs.append(measure(servers[server], requests[name], options.connections, options.seconds))
            report.progress(f"round {turn}, {name}, {server}: {runs[-1].result.requests_per_second:.0f} requests/s")
    return found


def rows(samples: Mapping[tuple[str, str], Sequence[Sample]], connections: int) -> Iterator[list[str]]:
    """Yield a line for each kind of request and server; the ratio is the median of the rounds' ratios."""
    for (name, server), runs in samples.items():
        pairs = zip(runs, samples[name, ONE_WORKER], strict=True)
        ratios = [mine.result.requests_per_second / other.result.requests_per_second for mine, other in pairs]
        yield [
            name,
            str(connections),
            server,
            report.number(report.median(run.result.requests_per_second for run in runs)),
            report.number(report.median(ratios)),
            report.number(report.median(run.result.p50_ms for run in runs)),
            report.number(report.median(run.result.p99_ms for run in runs)),
            report.number(report.median(1e6 * run.cpu for run in runs)),
            report.errors(
                pair for run in runs for pair in (("socket", run.result.socket_errors), *run.result.statuses.items())
            ),
        ]


if __name__ == "__main__":
    sys.exit(main())
