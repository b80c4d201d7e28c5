"""`python -m benchmarks.replicas`: what latencies to expect from many replicas, and how many a load needs.

It measures how long batches of 1, 2, 4, ... requests take in one server, feeds a simulation with these times, checks the
simulation against two real servers under requests that arrive at random, and prints what it says of up to 100 replicas. With
`--rate` and `--p99-ms` it prints how many replicas that load needs, and their memory.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack

from benchmarks import load, open_load, report
from benchmarks.load import LoadError, Request
from benchmarks.process import Running, StartError, free_port, running
from benchmarks.queueing import BatchTimes, Latencies, replicas_for, simulate
from benchmarks.service import READY
from benchmarks.workload import MODEL, sample_request

SIZES = (1, 2, 4, 8, 16, 32, 64)
SHARES = (0.3, 0.6, 0.8)  # of what the replicas can serve
REPLICAS = (1, 2, 10, 100)
SIMULATED = 100_000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, simulate, check and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replicas", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--pictures", type=int, default=64, help="samples of a request")
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--check-share", type=float, nargs="*", default=[0.1, 0.2, 0.3],
                        help="loads of the check, as shares of what two replicas could serve with a core each")  # fmt: skip
    parser.add_argument("--rate", type=float, help="requests a second to plan for")
    parser.add_argument("--p99-ms", type=float, default=50.0, help="the latency that 99 %% of them may take")
    arguments = parser.parse_args(argv)
    requests = [sample_request(seed, "?format=npy", arguments.pictures) for seed in range(64)]
    print(report.heading("benchmarks.replicas"))
    try:
        with ExitStack() as stack:
            servers = [stack.enter_context(_server()) for _ in range(2)]
            times = measure(servers[0], requests, arguments.seconds)
            print(_batch_times(times))
            print(_check(times, servers, requests, arguments))
            memory = servers[0].memory().pss
    except (StartError, LoadError) as error:
        print(error, file=sys.stderr)
        return 1
    print(_expected(times))
    if arguments.rate:
        print(_plan(times, arguments.rate, arguments.p99_ms, memory))
    return 0


def _server() -> AbstractContextManager[Running]:
    port = free_port()
    command = [sys.executable, "-m", "service", "--port", str(port), "--threads", "1"]
    return running(command, port, READY, {"VAE_MODELS": MODEL, "VAE_ACCESS_LOG": "false", "VAE_DEVICE": "cpu"})


def measure(server: Running, requests: Sequence[Request], seconds: int) -> BatchTimes:
    """Return the time of each number of requests at once: so many connections, each of which waits for its answer.

    The server takes what waits as one batch, so N connections take turns in batches of N. Raises LoadError.
    """
    load.run(server.url, requests, SIZES[-1], 1)
    found = [size / load.run(server.url, requests, size, seconds).requests_per_second for size in SIZES]
    return BatchTimes(SIZES, tuple(found))


def _batch_times(times: BatchTimes) -> str:
    rows = [
        [str(size), report.number(1e3 * seconds), report.number(size / seconds)]
        for size, seconds in zip(times.sizes, times.seconds, strict=True)
    ]
    return "One server, so many requests at once:\n\n" + report.table(("requests", "ms", "requests/s"), rows) + "\n"


def _check(times: BatchTimes, servers: Sequence[Running], requests: Sequence[Request], arguments: argparse.Namespace) -> str:
    """Compare two real servers with the simulation."""
    rows = []
    for share in arguments.check_share:
        rate = share * len(servers) * times.capacity
        urls = [server.url for server in servers]
        open_load.run(urls, requests, rate, 1)
        measured = Latencies(open_load.run(urls, requests, rate, 3 * arguments.seconds))
        said = simulate(times, len(servers), rate, SIMULATED)
        rows.append([f"{rate:,.0f}", report.percent(share), *_both(measured, said, 50), *_both(measured, said, 99)])
    columns = ("requests/s", "load", "p50 measured, ms", "simulated", "p99 measured, ms", "simulated")
    return "Two servers, requests at random moments to a random one:\n\n" + report.table(columns, rows) + "\n"


def _both(measured: Latencies, said: Latencies, percent: float) -> list[str]:
    return [report.number(1e3 * one.percentile(percent)) for one in (measured, said)]


def _expected(times: BatchTimes) -> str:
    rows = []
    for replicas in REPLICAS:
        for share in SHARES:
            rate = share * replicas * times.capacity
            both = [simulate(times, replicas, rate, SIMULATED, balancing) for balancing in ("random", "least")]
            row = [report.number(1e3 * found.percentile(percent)) for found in both for percent in (50, 99)]
            rows.append([str(replicas), report.percent(share), report.number(rate), *row])
    columns = ("replicas", "load", "requests/s", "random: p50 ms", "p99 ms", "fewest requests: p50 ms", "p99 ms")
    return "Simulated, each replica with a core of its own:\n\n" + report.table(columns, rows) + "\n"


def _plan(times: BatchTimes, rate: float, p99_ms: float, memory: float) -> str:
    found = {way: replicas_for(times, rate, p99_ms / 1e3, SIMULATED, way) for way in ("random", "least")}
    lines = [
        f"- to the replica with the fewest requests: {count} replicas"
        if way == "least"
        else f"- to a random replica: {count} replicas"
        for way, count in found.items()
    ]
    most = max((count for count in found.values() if count), default=0)
    return (
        f"For {rate:,.0f} requests a second, 99 % of them within {p99_ms:g} ms, balanced\n" + "\n".join(lines)
        + f"\n\nMemory: {memory:,.0f} MB each, {most * memory:,.0f} MB in all. Add one replica for each that may fail or be "
        "replaced at the same time.\n"
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
