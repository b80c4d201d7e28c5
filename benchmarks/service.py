"""`python -m benchmarks.service`: measure the speed of the service, absolute and relative to the limit of limit.py.

It starts the server. Each round runs all scenarios, so that a temporary disturbance of the machine affects all of them; the
table has medians. The limit is that of one CPU thread: a service on two cores may exceed 100 %, and on other devices the share
means little. Of the service it knows only `/info`.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks import bystanders, load, report
from benchmarks.bystanders import Bystanders
from benchmarks.load import LoadError, Request, Result
from benchmarks.process import Running, StartError, environment, free_port, running
from benchmarks.workload import MODEL, Scenario, scenarios
from models.train.flag_types import whole

READY = Request("GET", "/health/ready")
WARM_UP_SECONDS = 1
LIMIT_SECONDS = 0.5
COLUMNS = (
    "scenario",
    "connections",
    "requests/s",
    "spread",
    "images/s",
    "p50 ms",
    "p99 ms",
    "share of limit",
    "rows per batch",
    "padding",
    "RSS MB",
    "errors",
)


@dataclass(frozen=True)
class Counts:
    """Counters of the engine, summed over all queues of all models."""

    rows: int
    padded_rows: int
    batches: int


@dataclass(frozen=True)
class Sample:
    """One measurement of one scenario."""

    result: Result
    images_per_second: float
    share: float  # share of the limit
    mean_batch: float | None
    padding: float | None
    rss: float
    others: float  # cores used by other processes


def counts(url: str) -> Counts:
    """Sum the counters in `/info`, whose `engine` has an object per model, with one object per queue."""
    engine: dict[str, Any] = httpx.get(f"{url}/info", trust_env=False).raise_for_status().json()["engine"]
    lanes = [
        lane
        for model in engine.values()
        if isinstance(model, dict)
        for lane in model.values()
        if isinstance(lane, dict) and "batches" in lane
    ]
    return Counts(*(sum(lane[name] for lane in lanes) for name in ("rows", "padded_rows", "batches")))


def limits(names: Sequence[str]) -> dict[str, float]:
    """Run benchmarks.limit in a process of its own: pictures per second for each kind of traffic."""
    command = [sys.executable, "-m", "benchmarks.limit", "--seconds", str(LIMIT_SECONDS), "--traffic", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(server: Running, scenario: Scenario, seconds: int, limit: float, one_engine: bool) -> Sample:
    """Measure once. Counters of the engine are meaningful only with one worker. Raises LoadError."""
    before = counts(server.url)
    others = Bystanders(server.pid)
    result = load.run(server.url, scenario.requests, scenario.connections, seconds)
    disturbance = others.cores()
    after = counts(server.url)
    rows, padded = after.rows - before.rows, after.padded_rows - before.padded_rows
    batches = after.batches - before.batches
    images_per_second = result.requests_per_second * scenario.images
    return Sample(
        result,
        images_per_second,
        images_per_second / limit,
        rows / batches if one_engine and batches > 0 else None,
        padded / (rows + padded) if one_engine and rows > 0 else None,
        server.memory().rss,
        disturbance,
    )


def row(scenario: Scenario, samples: Sequence[Sample]) -> list[str]:
    """Return the table row with the medians of a scenario."""
    results = [sample.result for sample in samples]
    per_second = [result.requests_per_second for result in results]
    problems = [("socket", result.socket_errors) for result in results]
    problems += [pair for result in results for pair in result.statuses.items()]
    return [
        scenario.name,
        str(scenario.connections),
        report.number(report.median(per_second)),
        report.percent(report.spread(per_second)),
        report.number(report.median(sample.images_per_second for sample in samples)),
        report.number(report.median(result.p50_ms for result in results)),
        report.number(report.median(result.p99_ms for result in results)),
        report.percent(report.median(sample.share for sample in samples)),
        report.number(report.median(sample.mean_batch for sample in samples)),
        report.percent(report.median(sample.padding for sample in samples)),
        report.number(report.median(sample.rss for sample in samples)),
        report.errors(problems),
    ]


def measure_all(arguments: argparse.Namespace, chosen: Sequence[Scenario]) -> list[list[Sample]]:
    """Return the samples of each scenario, one per round. Raises StartError, LoadError."""
    port = free_port()
    workers = [] if arguments.workers is None else ["--workers", str(arguments.workers)]
    command = [sys.executable, "-m", "service", "--port", str(port), *workers, *arguments.server_args]
    variables = {"VAE_MODELS": MODEL, "VAE_ACCESS_LOG": "false", "VAE_DEVICE": "cpu"}
    names = list(dict.fromkeys(kind.name for scenario in chosen for kind in scenario.traffic))
    # With several workers, /info has the counters of any one of them.
    one_engine = arguments.workers in (None, 1) and "--workers" not in " ".join(arguments.server_args)
    samples: list[list[Sample]] = [[] for _ in chosen]
    with running(command, port, READY, variables) as server:
        for scenario in chosen:
            load.run(server.url, scenario.requests, scenario.connections, WARM_UP_SECONDS)
        for turn in range(1, arguments.rounds + 1):
            known = limits(names)
            for scenario, found in zip(chosen, samples, strict=True):
                found.append(measure(server, scenario, arguments.seconds, scenario.limit(known), one_engine))
                report.progress(
                    f"round {turn}, {scenario.name}, {scenario.connections} connections: "
                    f"{found[-1].result.requests_per_second:.0f} requests/s"
                )
    return samples


def main() -> int:
    """Measure and print. Exit status: 1 if the server fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description="Measure the speed of the service.")
    parser.add_argument(
        "--rounds", type=whole(1, 100), default=3, help="measurements of each scenario, interleaved (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=whole(1, 600), default=3, help="length of each measurement (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only scenarios with this text in their name")
    parser.add_argument("--workers", type=whole(1, 256), help="number of workers of the server")
    parser.add_argument(
        "--server-args", nargs=argparse.REMAINDER, default=[], help="pass all following arguments to the server"
    )
    arguments = parser.parse_args()
    chosen = [scenario for scenario in scenarios() if arguments.only in scenario.name]
    if not chosen:
        parser.error(f"no scenario has {arguments.only!r} in its name")
    print(report.heading("benchmarks.service"), flush=True)
    try:
        load.require_wrk()
        samples = measure_all(arguments, chosen)
    except (StartError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.table(COLUMNS, (row(scenario, found) for scenario, found in zip(chosen, samples, strict=True))))
    busiest = max(sample.result.client_cpu for found in samples for sample in found)
    print(f"\nThe client, on the same machine, took at most {busiest:.2f} of a core.")
    print(bystanders.remark([sample.others for found in samples for sample in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
