"""`python -m benchmarks.peers`: compare this service with other servers, with equal weights, requests and client.

One server runs at a time; a round visits all of them, and ratios are taken within a round. The peers compute with one torch
thread, this service runs with its defaults. Yardsticks and floors (peers/bare.py) show how little a request can cost. A peer
that cannot be installed, does not start or gives other answers is listed with the reason. Knows nothing of how the servers
work.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks import bystanders, environments, load, report
from benchmarks.bystanders import Bystanders
from benchmarks.contenders import PEERS, SERVICE, Contender
from benchmarks.environments import InstallError
from benchmarks.load import LoadError, Request, Result
from benchmarks.process import Memory, Running, StartError, free_port, running, send
from benchmarks.workload import Scenario, tensor_traffic, traffic
from models.train.flag_types import whole

ENCODE = "encode 1, JSON"
DRAWS = ("decode 1 to PNG", "sample 16 to JSON")
TOLERANCE = 1e-4
CHECKED = 8
WARM_UP_SECONDS = 1
COLUMNS = (
    "requests",
    "connections",
    "server",
    "requests/s",
    "spread",
    "ratio to ours",
    "p50 ms",
    "p99 ms",
    "CPU µs a request",
    "errors",
)
COSTS = ("server", "version", "start to first response, s", "RSS MB", "PSS MB")

Means = list[list[float]]


class DifferentAnswerError(Exception):
    """The peer's results differ from ours."""


@dataclass(frozen=True)
class Visit:
    """The measurements of one server in one round."""

    start_seconds: float
    memory: Memory
    results: dict[tuple[str, int], Result]  # by `Scenario.key`
    cpu: dict[tuple[str, int], float]  # seconds of CPU time of the server per request, all its processes together
    others: list[float]  # cores used by other processes, per measurement


@dataclass
class Standing:
    """A server with one visit per round, or the reason why it failed."""

    contender: Contender
    python: Path
    visits: list[Visit] = field(default_factory=list)
    failure: str = ""


def scenarios_of(contender: Contender) -> list[Scenario]:
    """Return the scenarios for a server, with our own requests; see `translated`."""
    kinds = traffic()
    found = [Scenario((kinds[ENCODE],), connections) for connections in (1, 16, 64)]
    found += [Scenario((kinds[name],), 16) for name in DRAWS if contender.draws]
    return found + [Scenario((tensor_traffic(),), connections) for connections in (1, 4, 16) if contender.tensors]


def translated(contender: Contender, scenario: Scenario) -> tuple[Request, ...]:
    """Return the requests in the server's own format."""
    return tuple(map(contender.ask, scenario.requests)) if scenario.name == ENCODE else scenario.requests


def means(contender: Contender, server: Running, requests: Sequence[Request]) -> Means:
    """Return the server's mu for the first pictures."""
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        return [contender.mu(send(client, request).raise_for_status().json()) for request in requests[:CHECKED]]


def compare(found: Means, ours: Means) -> None:
    """Raise DifferentAnswerError if the means differ from ours by more than rounding."""
    shapes = [len(row) for row in found] == [len(row) for row in ours]
    distance = max(abs(a - b) for x, y in zip(found, ours, strict=True) for a, b in zip(x, y, strict=False))
    if not shapes or not distance <= TOLERANCE:
        raise DifferentAnswerError(f"its mu differs from ours by {distance:g}")


def visit(standing: Standing, seconds: int, ours: Means | None) -> tuple[Visit, Means]:
    """Start a server, check it, measure it, stop it. Raises StartError, DifferentAnswerError, LoadError, HTTPError."""
    contender, port = standing.contender, free_port()
    plan = [(scenario, translated(contender, scenario)) for scenario in scenarios_of(contender)]
    encode = plan[0][1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        # Some peers keep files in the home directory or in the temporary directory.
        variables = {**contender.variables, "HOME": home, "TMPDIR": home, "RAY_TMPDIR": home}
        command = [str(standing.python), *contender.arguments(port)]
        with running(command, port, encode[0], variables):
            pass  # The first start only fills the system's file cache, so that start-up times are comparable.
        with running(command, port, encode[0], variables) as server:
            found = means(contender, server, encode)
            if contender.computes:
                compare(found, ours or found)
            results: dict[tuple[str, int], Result] = {}
            cpu: dict[tuple[str, int], float] = {}
            disturbances = []
            for scenario, requests in plan:
                load.run(server.url, requests, scenario.connections, WARM_UP_SECONDS)
                others, before = Bystanders(server.pid), server.cpu()
                result = results[scenario.key] = load.run(server.url, requests, scenario.connections, seconds)
                cpu[scenario.key] = (server.cpu().total - before.total) / result.requests
                disturbances.append(others.cores())
                report.progress(
                    f"{contender.title}, {scenario.name}, {scenario.connections} connections: "
                    f"{result.requests_per_second:.0f} requests/s"
                )
            return Visit(server.start_seconds, server.memory(), results, cpu, disturbances), found


def measure_all(names: Sequence[str], rounds: int, seconds: int) -> list[Standing]:
    """Measure all servers, ours first. Raises the exceptions of `visit` for our own service."""
    standings = [Standing(SERVICE, Path(sys.executable))]
    for contender in PEERS:
        if contender.name not in names:
            continue
        report.progress(f"{contender.title}: environment")
        try:
            python = environments.interpreter(contender.name) if contender.package else Path(sys.executable)
            standings.append(Standing(contender, python))
        except InstallError as error:
            standings.append(Standing(contender, Path(), failure=str(error)))
    for _ in range(rounds):
        ours: Means | None = None
        for standing in standings:
            if standing.failure:
                continue
            try:
                measured, found = visit(standing, seconds, ours)
            except (StartError, DifferentAnswerError, LoadError, httpx.HTTPError, LookupError, ValueError) as error:
                if standing.contender is SERVICE:
                    raise
                standing.failure = f"{type(error).__name__}: {error}"
                report.progress(f"{standing.contender.title}: {standing.failure}")
                continue
            ours = ours or found
            standing.visits.append(measured)
    return standings


def speed_rows(standings: Sequence[Standing]) -> Iterator[list[str]]:
    """Yield a line for each scenario and server; `ratio to ours` is the median of the rounds' ratios."""
    own = standings[0].visits
    for scenario in scenarios_of(SERVICE):
        for standing in standings:
            # After a failure a server is not visited again, so missing rounds are at the end.
            results = [seen.results[scenario.key] for seen in standing.visits if scenario.key in seen.results]
            if not results:
                continue
            rates = [result.requests_per_second for result in results]
            ratios = [rate / seen.results[scenario.key].requests_per_second for rate, seen in zip(rates, own, strict=False)]
            problems = [("socket", result.socket_errors) for result in results]
            problems += [pair for result in results for pair in result.statuses.items()]
            yield [
                scenario.name,
                str(scenario.connections),
                standing.contender.title,
                report.number(report.median(rates)),
                report.percent(report.spread(rates)),
                report.number(report.median(ratios)),
                report.number(report.median(result.p50_ms for result in results)),
                report.number(report.median(result.p99_ms for result in results)),
                report.number(report.median(1e6 * seen.cpu[scenario.key] for seen in standing.visits)),
                report.errors(problems),
            ]


def cost_rows(standings: Sequence[Standing]) -> Iterator[list[str]]:
    """Yield a line for each server: start-up time, and memory after the load."""
    for standing in standings:
        contender, visits = standing.contender, standing.visits
        if visits:
            yield [
                contender.title,
                environments.pinned(contender.name, contender.package) if contender.package else "–",
                report.number(report.median(seen.start_seconds for seen in visits)),
                report.number(report.median(seen.memory.rss for seen in visits)),
                report.number(report.median(seen.memory.pss for seen in visits)),
            ]


def main() -> int:
    """Measure and print. Exit status: 1 if our own service fails or wrk is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Compare this service with other servers.")
    parser.add_argument("--rounds", type=whole(1, 100), default=3, help="visits to each server (default: %(default)s)")
    parser.add_argument("--seconds", type=whole(1, 600), default=3, help="length of each measurement (default: %(default)s)")
    known = [peer.name for peer in PEERS]
    parser.add_argument("--peers", nargs="+", choices=known, default=known, help="servers to compare with (default: all)")
    arguments = parser.parse_args()
    print(report.heading("benchmarks.peers"), flush=True)
    try:
        load.require_wrk()  # before environments are created
        standings = measure_all(arguments.peers, arguments.rounds, arguments.seconds)
    except (StartError, LoadError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.table(COLUMNS, speed_rows(standings)), end="\n\n")
    print(report.table(COSTS, cost_rows(standings)), end="\n\n")
    print(bystanders.remark([cores for standing in standings for seen in standing.visits for cores in seen.others]))
    for standing in standings:
        if standing.failure:
            print(f"\nNot measured in all rounds: {standing.contender.title}. {standing.failure}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
