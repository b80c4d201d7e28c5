"""`python -m benchmarks.service`: how fast the service is, and how near to what the machine does without it (limit.py).

Starts the server itself. Rounds are interleaved, scenario by scenario, so that what disturbs the machine for a while disturbs
all of them; the table has the medians. The limit is one thread of the CPU: a service that works on two cores at once may
pass 100 %, and on another device the share says little. Knows nothing of how the service works but `/info`.
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
    "of the limit",
    "rows a batch",
    "padding",
    "RSS MB",
    "errors",
)


@dataclass(frozen=True)
class Counts:
    """What the engine has counted so far, over all lanes of all models."""

    rows: int
    padded_rows: int
    batches: int


@dataclass(frozen=True)
class Sample:
    """One measurement of one scenario."""

    result: Result
    images_per_second: float
    share: float  # of the limit
    mean_batch: float | None
    padding: float | None
    rss: float
    others: float  # cores that other processes took


def counts(url: str) -> Counts:
    """From `/info`, whose `engine` has an object for each model, with one for each of its lanes."""
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
    """Pictures a second of each kind of traffic, by a process of its own."""
    command = [sys.executable, "-m", "benchmarks.limit", "--seconds", str(LIMIT_SECONDS), "--traffic", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(server: Running, scenario: Scenario, seconds: int, limit: float, one_engine: bool) -> Sample:
    """One measurement; counts of the engine only where there is one. Raises LoadError."""
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
    """The medians of a scenario."""
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
    """The samples of each scenario, one a round. Raises StartError, LoadError."""
    port = free_port()
    workers = [] if arguments.workers is None else ["--workers", str(arguments.workers)]
    command = [sys.executable, "-m", "service", "--port", str(port), *workers, *arguments.server_args]
    variables = {"VAE_MODELS": MODEL, "VAE_ACCESS_LOG": "false", "VAE_DEVICE": "cpu"}
    names = list(dict.fromkeys(kind.name for scenario in chosen for kind in scenario.traffic))
    # of several workers, any one answers /info, with its own counts
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
    """Measure and print. Exit status: 1 when the server fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description="How fast the service is.")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved measurements of each scenario (%(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="for each measurement (%(default)s)")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="scenarios with this in their name")
    parser.add_argument("--workers", type=int, help="--workers of the server")
    parser.add_argument("--server-args", nargs=argparse.REMAINDER, default=[], help="all that follows goes to the server")
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
