"""`python -m benchmarks.replicas`: what latencies to expect from many replicas, and how many a load needs.

It measures how long batches of 1, 2, 4, ... requests take in one server, and how much longer single ones take after a pause.
It feeds a simulation with these times, checks the simulation against two real servers under requests that arrive at random,
and prints what it says of up to 100 replicas. With `--rate` and `--p99-ms` it prints how many replicas that load needs, their
memory, and the bound of the queue.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack

from benchmarks import bystanders, load, open_load, report
from benchmarks.bystanders import Bystanders
from benchmarks.load import LoadError, Request
from benchmarks.process import Running, StartError, free_port, running
from benchmarks.queueing import BatchTimes, Latencies, replicas_for, simulate
from benchmarks.service import READY
from benchmarks.workload import MODEL, sample_request
from models.train.flag_types import positive, whole

SIZES = (1, 2, 4, 8, 16, 32, 64)
WAKING = 0.05  # the load, as a share of what a server can do, at which nearly every request finds it idle
SHARES = (0.3, 0.6, 0.8)  # of what the replicas can serve
REPLICAS = (1, 2, 10, 100)
SIMULATED = 100_000
AGREE = {50: 1.5, 99: 2.0}  # by what factor measured and simulated percentiles may differ


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, simulate, check and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replicas", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--models-dir", help="a directory of checkpoints; without it the shipped ones")
    parser.add_argument("--model", default=MODEL, help=f"the model that is measured ({MODEL})")
    parser.add_argument(
        "--samples", type=whole(1, 4096), default=64, help="how many samples each request to /sample asks for (64)"
    )
    parser.add_argument("--seconds", type=whole(1, 600), default=3, help="how long each measurement takes (3)")
    parser.add_argument("--check-share", type=float, nargs="*", default=[0.1, 0.2, 0.3],
                        help="loads of the check, as shares of what two replicas with a core each could serve")  # fmt: skip
    parser.add_argument("--rate", type=positive(), help="say how many replicas so many requests a second need")
    parser.add_argument("--p99-ms", type=positive(), default=50.0, help="the latency in ms that 99 %% of them may have (50)")
    arguments = parser.parse_args(argv)
    requests = [sample_request(seed, "?format=npy", arguments.samples) for seed in range(64)]
    print(report.heading("benchmarks.replicas"))
    try:
        with ExitStack() as stack:
            servers = [stack.enter_context(_server(arguments.model, arguments.models_dir)) for _ in range(2)]
            others = Bystanders(servers[0].pid)
            times = measure(servers[0], requests, arguments.seconds)
            print(_batch_times(times))
            print(bystanders.remark([others.cores()]) + "\n")
            table, agree = _check(times, servers, requests, arguments)
            print(table)
            memory = servers[0].memory().pss
    except (StartError, LoadError) as error:
        print(error, file=sys.stderr)
        return 1
    if not agree:
        print(
            "Measured and simulated latencies differ too much to plan with: measure again on a quiet machine.", file=sys.stderr
        )
        return 1
    print(_expected(times))
    if arguments.rate:
        print(_plan(times, arguments, memory))
    return 0


def _server(model: str, models_dir: str | None) -> AbstractContextManager[Running]:
    port = free_port()
    command = [sys.executable, "-m", "service", "--port", str(port), "--threads", "1"]
    command += ["--models-dir", models_dir] if models_dir else []
    return running(command, port, READY, {"VAE_MODELS": model, "VAE_ACCESS_LOG": "false", "VAE_DEVICE": "cpu"})


def measure(server: Running, requests: Sequence[Request], seconds: int) -> BatchTimes:
    """Return the time of each number of requests at once: so many connections, each of which waits for its answer.

    The server takes what waits as one batch, so N connections take turns in batches of N. After a pause caches are cold and
    processes asleep: how much longer a request takes then is measured by few that come at random moments. Raises LoadError.
    """
    load.run(server.url, requests, SIZES[-1], 1)
    found = [size / load.run(server.url, requests, size, seconds).requests_per_second for size in SIZES]
    alone = open_load.run([server.url], requests, WAKING / found[0], 3 * seconds)
    return BatchTimes(SIZES, tuple(found), tuple(max(0.0, latency - found[0]) for latency in alone))


def _batch_times(times: BatchTimes) -> str:
    rows = [
        [str(size), report.number(1e3 * seconds), report.number(size / seconds)]
        for size, seconds in zip(times.sizes, times.seconds, strict=True)
    ]
    waking = Latencies(times.waking)
    return (
        "One server, so many requests to /sample at once:\n\n" + report.table(("requests", "ms", "requests/s"), rows)
        + f"\n\nAfter a pause a request takes {1e3 * waking.percentile(50):.2f} ms more, 1 % of them more than "
        f"{1e3 * waking.percentile(99):.2f} ms more.\n"
    )  # fmt: skip


def _check(
    times: BatchTimes, servers: Sequence[Running], requests: Sequence[Request], arguments: argparse.Namespace
) -> tuple[str, bool]:
    """Compare two real servers with the simulation. Return the table, and whether they agree."""
    rows, agree = [], True
    for share in arguments.check_share:
        rate = share * len(servers) * times.capacity
        urls = [server.url for server in servers]
        open_load.run(urls, requests, rate, 1)
        measured = Latencies(open_load.run(urls, requests, rate, 3 * arguments.seconds))
        said = simulate(times, len(servers), rate, SIMULATED)
        for percent, factor in AGREE.items():
            ratio = measured.percentile(percent) / said.percentile(percent)
            agree = agree and 1 / factor <= ratio <= factor
        rows.append([f"{rate:,.0f}", report.percent(share), *_both(measured, said, 50), *_both(measured, said, 99)])
    columns = ("requests/s", "load", "p50 measured, ms", "simulated", "p99 measured, ms", "simulated")
    return "Two servers, requests at random moments to a random one:\n\n" + report.table(columns, rows) + "\n", agree


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


def _plan(times: BatchTimes, arguments: argparse.Namespace, memory: float) -> str:
    rate, p99 = arguments.rate, arguments.p99_ms / 1e3
    to_random, to_fewest = (replicas_for(times, rate, p99, SIMULATED, way) for way in ("random", "least"))
    most = max(to_random or 0, to_fewest or 0)
    rows_per_second = times.capacity * arguments.samples
    return (
        f"Replicas for {rate:,.0f} requests a second, 99 % of them within {arguments.p99_ms:g} ms, where a request goes\n"
        f"- to a random replica: {to_random or 'more than 1,000'}\n"
        f"- to the replica with the fewest requests: {to_fewest or 'more than 1,000'}\n\n"
        f"Memory: {memory:,.0f} MB each, {most * memory:,.0f} MB in all. Add one replica for each that may fail or be "
        f"replaced at the same time.\n\nQueue: a replica does {rows_per_second:,.0f} rows a second. With VAE_MAX_QUEUE_ROWS="
        f"{rows_per_second * p99:.0f} it refuses requests that would wait longer than {arguments.p99_ms:g} ms.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
